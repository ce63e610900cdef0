import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images import bundle
from evergreen.images.arrays import open_images, write_folder
from evergreen.images.drift import DriftConfig, Measured, compare, measure, pool_reference, run
from evergreen.images.statistics import FEATURES
from evergreen.images.windows import DESCRIPTION, Window
from evergreen.stream.two_sample import kolmogorov_smirnov

QUICK = {"reference_windows": 3, "alpha": 0.01, "samples": 60, "encoder_samples": 60, "mmd_permutations": 399}


@pytest.fixture
def make_windows(make_stream, make_pictures, make_index):
    """Writes windows of one day each; ``rows`` and ``noise`` say how many images each has and how noisy they are."""

    def make(name, rows, noise=None):
        layout = make_stream(name, days=0)
        for day, (count, sigma) in enumerate(zip(rows, noise or [0] * len(rows), strict=True)):
            start = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=day)
            images = make_pictures(count, seed=100 + day, noise=sigma)
            index = make_index(images, [start] * count, f"d{day}")
            end = (start + pd.Timedelta(days=1)).to_pydatetime()
            window = Window.of(day, start.to_pydatetime(), end, index)
            write_folder(layout.windows / window.window_id, images, index)
            (layout.windows / window.window_id / DESCRIPTION).write_text(json.dumps(window.as_json()))
        return layout

    return make


def records_of(layout, params, **changes):
    params["drift"] = QUICK | changes
    run(layout.workspace, params)
    return read_json(layout.metrics / "drift.json")


def test_noise_alarms_from_its_first_window_on_and_nothing_before(make_windows, params):
    layout = make_windows("w", rows=[120] * 8, noise=[0] * 5 + [6] * 3)
    records = records_of(layout, params)
    assert [record["drift"] for record in records] == [False] * 5 + [True] * 3
    assert [record["reference"] for record in records] == [True] * 3 + [False] * 5
    assert [record["start"][:10] for record in records] == [f"2026-01-{day:02d}" for day in range(1, 9)]
    assert all(record["p_value"] is None and record["tests"] == [] for record in records[:3])
    worst = min(records[5]["tests"], key=lambda test: test["p_adjusted"])
    assert worst["name"] in ("noise", "sharpness")


def test_a_record_says_how_its_decision_follows_from_its_tests(make_windows, params):
    layout = make_windows("w", rows=[120] * 6, noise=[0] * 5 + [1.5])
    for record in records_of(layout, params)[3:]:
        tests = record["tests"]
        assert [test["name"] for test in tests] == [*FEATURES, "mmd"]
        assert record["p_value"] == min(test["p_adjusted"] for test in tests)
        assert record["drift"] == (record["p_value"] <= 0.01)
        assert record["statistic"] == tests[-1]["statistic"]
        assert tests[-1]["p_adjusted"] == min(1, 2 * tests[-1]["p_value"])
        smallest = min(test["p_value"] for test in tests[:-1])
        adjusted = min(test["p_adjusted"] for test in tests[:-1])
        assert adjusted == pytest.approx(min(1, 2 * len(FEATURES) * smallest))  # Holm's first step, and half of alpha


def test_single_statistics_are_compared_over_all_images_of_the_pooled_reference(make_windows, params):
    layout = make_windows("w", rows=[90, 70, 80, 100])
    record = records_of(layout, params)[3]
    folders = sorted(layout.windows.iterdir())
    values = [measure(open_images(f), DriftConfig(), np.random.default_rng(0), None).statistics[:, 6] for f in folders]
    expected = kolmogorov_smirnov(np.concatenate(values[:3]), values[3])
    brightness = next(test for test in record["tests"] if test["name"] == "brightness")
    assert (brightness["statistic"], brightness["p_value"]) == (expected.statistic, expected.p_value)


def test_the_same_run_gives_the_same_bytes_and_later_windows_change_nothing(make_windows, params):
    short, long = make_windows("short", rows=[60] * 5), make_windows("long", rows=[60] * 7)
    before = records_of(short, params)
    first = (short.metrics / "drift.json").read_bytes()
    assert records_of(short, params) == before
    assert (short.metrics / "drift.json").read_bytes() == first
    assert records_of(long, params)[:5] == before
    timing = read_json(long.metrics / "drift.timing.json")
    assert [entry["window_id"] for entry in timing["windows"]] == sorted(p.name for p in long.windows.iterdir())
    assert sum(entry["milliseconds"] for entry in timing["windows"]) == pytest.approx(1000 * timing["seconds"])


def test_with_too_few_windows_nothing_is_tested_and_the_record_says_why(make_windows, params):
    records = records_of(make_windows("w", rows=[50]), params)
    assert len(records) == 1
    assert (records[0]["p_value"], records[0]["statistic"], records[0]["drift"]) == (None, None, False)
    assert records[0]["reference"]
    assert "too few" in records[0]["note"]


def test_a_window_of_few_images_is_not_tested(make_windows, params):
    records = records_of(make_windows("w", rows=[60, 60, 60, 19, 20]), params)
    assert (records[3]["p_value"], records[3]["drift"], records[3]["tests"]) == (None, False, [])
    assert "19 images" in records[3]["note"]
    assert records[4]["p_value"] is not None
    assert records[4]["note"] is None


def test_a_tiny_reference_is_not_used(make_windows, params):
    records = records_of(make_windows("w", rows=[2, 2, 2, 60]), params)
    assert records[3]["p_value"] is None
    assert "not tested" in records[3]["note"]


def test_without_windows_there_is_nothing_to_compare(make_stream, params):
    layout = make_stream(days=1)
    with pytest.raises(BadInputError, match="no windows"):
        run(layout.workspace, params)


def test_the_champion_s_features_are_tested_too(make_windows, make_classifier, params):
    layout = make_windows("w", rows=[150] * 5, noise=[0] * 4 + [60])
    params["champion"] = bundle.save(layout.champion, make_classifier(["blue", "red"]))
    calm, noisy = records_of(layout, params, encoder_components=4, encoder_samples=150)[3:]
    assert [test["name"] for test in calm["tests"][len(FEATURES) : -1]] == [f"encoder_{n}" for n in range(1, 5)]
    assert not calm["drift"]
    assert noisy["drift"]
    assert min(test["p_adjusted"] for test in noisy["tests"] if test["name"].startswith("encoder")) < 0.01


def test_another_champion_than_the_one_named_is_refused(make_windows, make_classifier, params):
    layout = make_windows("w", rows=[60] * 4)
    bundle.save(layout.champion, make_classifier(["blue", "red"]))
    params["champion"] = "0" * 64
    with pytest.raises(BadInputError, match="SHA-256"):
        records_of(layout, params)


def test_too_few_permutations_for_alpha_are_refused(make_windows, params):
    with pytest.raises(BadInputError, match="mmd_permutations must be at least 1999"):
        records_of(make_windows("w", rows=[60]), params, alpha=0.001, mmd_permutations=1998)
    assert DriftConfig(alpha=0.001, mmd_permutations=1999)


@pytest.mark.parametrize("encoder", [False, True])
def test_a_window_without_drift_alarms_as_often_as_alpha_says(encoder):
    """Families of correlated features, encoder components included; 200 windows, each with a reference of its own."""
    config = DriftConfig(reference_windows=3, alpha=0.1, samples=40, mmd_permutations=99, encoder_components=3)
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(len(FEATURES), len(FEATURES)))

    def window():
        rows = np.sort(rng.choice(80, size=40, replace=False))
        encoded = np.exp(rng.normal(size=(40, 6))) if encoder else None
        return Measured(rng.normal(size=(80, len(FEATURES))) @ mix, rows, encoded)

    alarms, runs = 0, 200
    for _ in range(runs):
        reference = pool_reference([window() for _ in range(3)], config, rng)
        alarms += min(test.p_adjusted for test in compare(reference, window(), config, rng)) <= config.alpha
    assert binomtest(alarms, runs, config.alpha, alternative="greater").pvalue > 0.01
    assert alarms > 0.02 * runs  # and it is not blind
