"""The arrays that models read: what is in the file, in its order, day by day."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError
from evergreen.retail.example_frames import NEVER, PENDING, read_frames
from evergreen.retail.examples import ExamplesConfig, make_examples

EPOCH = date(1970, 1, 1)
START = datetime(2020, 2, 20)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    times = [START + timedelta(days=int(day), seconds=int(day)) for day in rng.integers(0, 40, 200)]
    receipts = {
        "customer_id": [f"customer {number}" for number in rng.integers(0, 30, 200)],
        "amount": rng.integers(1, 9999, 200) / 100,
        "timestamp": pa.array(times, pa.timestamp("us")),
    }
    pq.write_table(pa.table(receipts), tmp_path / "receipts.parquet")
    config = ExamplesConfig(period_days=10, periods=2, churn_days=12)
    make_examples(tmp_path / "receipts.parquet", tmp_path / "examples.parquet", config)
    return tmp_path / "examples.parquet"


def test_the_arrays_hold_the_file(examples: Path) -> None:
    table, frames = pq.read_table(examples), read_frames(examples, np.float64)
    assert frames.names == tuple(f"{kind}_{n}" for n in (1, 2) for kind in ("recency", "frequency", "monetary"))
    columns = np.column_stack([table[name].to_numpy() for name in frames.names])
    np.testing.assert_array_equal(frames.features, columns)
    np.testing.assert_array_equal(read_frames(examples).features, columns.astype(np.float32))
    for position, row in enumerate(table.to_pylist()):
        pending = row["label"] is None
        assert frames.labels[position] == (PENDING if pending else row["label"])
        assert frames.days[position] == (NEVER if pending else (row["day"] - EPOCH).days)
        assert frames.generated_on[position] == (row["generated_on"] - EPOCH).days
        assert frames.customer_ids[int(frames.customers[position])].as_py() == row["customer_id"]
        label_at = np.datetime64(int(frames.label_times[position]), "us")
        assert pending or label_at == np.datetime64(row["label_at"])
    assert frames.example_ids.to_pylist() == table["example_id"].to_pylist()
    assert len(frames) == table.num_rows


def test_every_labelled_row_is_in_one_frame_and_pending_ones_in_none(examples: Path) -> None:
    frames = read_frames(examples)
    days, slices = zip(*frames.frames(), strict=True)
    assert list(days) == sorted({int(day) for day in frames.days if day != NEVER})
    rows = np.concatenate([np.arange(len(frames))[rows] for rows in slices])
    np.testing.assert_array_equal(rows, np.arange(frames.known))
    for day, found in zip(days, slices, strict=True):
        assert set(frames.days[found].tolist()) == {day}
        assert frames.frame(day) == found
    assert (frames.labels[frames.pending] == PENDING).all()
    assert (frames.labels[: frames.known] != PENDING).all()
    assert list(frames.frames(first_day=days[3])) == list(zip(days, slices, strict=True))[3:]
    assert frames.frame(days[-1] + 1) == slice(frames.known, frames.known)


def test_an_episode_is_one_customer_with_one_outcome(examples: Path) -> None:
    frames = read_frames(examples)
    keys = list(zip(frames.days.tolist(), frames.customers.tolist(), strict=True))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    assert frames.episodes.tolist() == [numbers[key] for key in keys]


def test_a_file_without_rows_is_read(examples: Path) -> None:
    pq.write_table(pq.read_table(examples).slice(0, 0), examples)
    frames = read_frames(examples)
    assert (len(frames), frames.known, list(frames.frames()), frames.features.shape) == (0, 0, [], (0, 6))
    assert len(frames.episodes) == 0


def test_other_files_are_refused(examples: Path) -> None:
    with pytest.raises(BadInputError, match="missing"):
        read_frames(examples.with_name("other.parquet"))
    pq.write_table(pq.read_table(examples).drop_columns(["monetary_2"]), examples)
    with pytest.raises(BadInputError, match="expected those of a file of examples"):
        read_frames(examples)
