import re
from datetime import datetime
from typing import Any

import pytest

from evergreen.report.timeline import CEILING, ROWS, evidence, first_drift, heat_map, timeline

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # matplotlib: a drawing that has no room


def record(day: int, drift: bool = False, tests: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "window_id": f"w{day}",
        "start": f"2026-01-{day:02d}T00:00:00+00:00",
        "end": f"2026-01-{day + 1:02d}T00:00:00+00:00",
        "rows": 10,
        "statistic": 0.1,
        "p_value": 1e-8 if drift else 0.4,
        "drift": drift,
        "reference": day == 1,
        "tests": [
            {"name": f"test_{n}", "kind": "ks", "statistic": 0.1, "p_value": 0.5, "p_adjusted": 1.0}
            for n in range(tests)
        ],
        **changes,
    }


@pytest.mark.parametrize(
    ("p_value", "expected"), [(1.0, 0.0), (0.001, 3.0), (1e-300, CEILING), (0.0, CEILING), (None, None)]
)
def test_evidence_is_cut_at_the_ceiling(p_value: float | None, expected: float | None) -> None:
    assert evidence(p_value) == pytest.approx(expected)


def test_the_first_drifted_window_is_found() -> None:
    assert first_drift([record(1), record(2)]) is None
    found = first_drift([record(1), record(2, drift=True), record(3, drift=True)])
    assert found is not None
    assert found["window_id"] == "w2"


def test_every_window_is_marked_in_both_panels() -> None:
    drift = [record(1), record(2), record(3), record(4, drift=True)]
    svg = str(timeline(drift, {"w1", "w2"}, 0.001, datetime(2026, 1, 4), "windows"))
    stems = re.findall(r"<path d=\"M [\d.]+ [\d.]+ +L [\d.]+ [\d.]+\"[^>]*stroke-opacity: 0.7", svg)
    assert len(stems) == 2 * len(drift)
    assert "first drift: 2026-01-04" in svg
    assert "alarm level, p = 0.001" in svg


def test_windows_that_were_not_tested_are_told_apart() -> None:
    tested = [record(1, p_value=None, statistic=None), record(2)]
    assert "not tested" not in str(timeline(tested, set(), 0.001, None, "reference"))
    assert "not tested" in str(timeline([*tested, record(3, p_value=None, statistic=None)], set(), 0.001, None, "x"))


def test_missing_p_values_and_levels_are_left_out() -> None:
    svg = str(timeline([record(1, p_value=None)], set(), None, None, "one"))
    assert "alarm level" not in svg
    assert "first drift" not in svg


def test_the_heat_map_keeps_the_strongest_tests() -> None:
    windows = [record(1, tests=ROWS + 5), record(2, tests=ROWS + 5)]
    windows[1]["tests"][-1]["p_adjusted"] = 1e-9
    svg = str(heat_map(windows, "tests"))
    assert f"test {ROWS + 4}" in svg
    assert len(re.findall(r">test \d+<", svg)) == ROWS
    assert heat_map([record(1, tests=0)], "none") is None
