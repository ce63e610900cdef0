from datetime import datetime, timedelta

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.report.inputs import labels_by_day

arrivals = st.lists(
    st.tuples(st.integers(0, 5 * 24), st.sampled_from(["known", "hidden", "gate", "none"])), min_size=1, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(arrivals)
def test_every_image_is_counted_once_on_its_day(rows: list[tuple[int, str]]) -> None:
    start = datetime(2026, 1, 1)
    index = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(rows))],
            "arrived_at": pd.to_datetime([start + timedelta(hours=hour) for hour, _ in rows], utc=True),
            "label": pd.Series(["cat" if kind == "known" else None for _, kind in rows], dtype=object),
        }
    )
    hidden = {f"i{n}" for n, (_, kind) in enumerate(rows) if kind == "hidden"}
    gate = {f"i{n}" for n, (_, kind) in enumerate(rows) if kind == "gate"}
    found = labels_by_day(index, hidden, gate).set_index("day")
    expected: dict[str, dict[str, int]] = {}
    for hour, kind in rows:
        day = f"{start + timedelta(hours=hour):%Y-%m-%d}"
        counts = expected.setdefault(day, {"images": 0, "known": 0, "gate": 0, "hidden": 0, "none": 0})
        counts[kind] += 1
        counts["images"] += 1
    assert {f"{day:%Y-%m-%d}": dict(row) for day, row in found.iterrows()} == expected
    assert found.index.is_monotonic_increasing
