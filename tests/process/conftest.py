"""Small event logs for the tests of the process domain."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

START = datetime(2026, 3, 1, tzinfo=UTC)


def event_table(events: list[tuple[str, str, float, str | None]]) -> pa.Table:
    """(case, activity, seconds, resource) each, in the order of the file, as a table in the order of time."""
    rows = sorted(enumerate(events), key=lambda row: row[1][2])
    return pa.table(
        {
            "event_index": pa.array([index for index, _ in rows], pa.int64()),
            "case_id": pa.array([event[0] for _, event in rows], pa.string()),
            "activity": pa.array([event[1] for _, event in rows], pa.string()),
            "timestamp": pa.array(
                [START + timedelta(seconds=event[2]) for _, event in rows], pa.timestamp("us", "UTC")
            ),
            "resource": pa.array([event[3] for _, event in rows], pa.string()),
        }
    )


@pytest.fixture(scope="session")
def make_events() -> Callable[..., pa.Table]:
    return event_table
