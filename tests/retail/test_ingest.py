import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError, StoppedError
from evergreen.files import read_json, sha256_json
from evergreen.retail.ingest import METRICS, QUARANTINE, RECEIPTS, VALIDATION, run
from evergreen.retail.receipts import RECEIPTS_SCHEMA, read_receipts

DATA = os.environ.get("EVERGREEN_BENCH_DATA")
COUNT = 400


def good(count=COUNT, customers=40, seed=0):
    """Receipts of two years, numbered in the order of time."""
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.choice(700 * 1440, count, replace=False))
    return pd.DataFrame(
        {
            "receipt_id": (1000 + np.arange(count)).astype(str),
            "customer_id": rng.integers(0, customers, count).astype(str),
            "quantity": rng.integers(1, 9, count).astype(float),
            "amount": np.exp(rng.normal(3, 1, count)).round(2),
            "timestamp": np.datetime64("2020-01-01", "us") + minutes.astype("m8[m]"),
        }
    )


class Ingested:
    """A workspace after the step, whether it stopped or not."""

    def __init__(self, folder, frame, mode="default", limits=None, name="receipts.parquet", **source):
        self.folder, self.lines = folder, len(frame)
        (frame.to_csv if name.endswith("csv") else frame.to_parquet)(folder / name, index=False)
        params = {
            "source": {"receipts": str(folder / name), **source},
            "validate": limits or {},
            "examples": {"mode": mode},
        }
        self.error = None
        try:
            run(folder, params)
        except StoppedError as error:
            self.error = str(error)
        self.result = read_json(folder / VALIDATION / "result.json")
        self.quarantine = pq.read_table(folder / QUARANTINE).to_pandas()
        self._counts_add_up()

    def _counts_add_up(self):
        assert self.result["rows_read"] == self.lines
        assert self.result["rows_accepted"] + len(self.quarantine) == self.lines
        assert self.quarantine["reason"].value_counts().to_dict() == self.result["reasons"]
        assert self.quarantine["row"].is_unique
        assert (self.folder / RECEIPTS).exists() == (self.error is None)

    @property
    def receipts(self):
        return read_receipts(self.folder / RECEIPTS)

    @property
    def metrics(self):
        return read_json(self.folder / METRICS)


def test_good_receipts_come_out_as_they_went_in(tmp_path):
    frame = good()
    done = Ingested(tmp_path, frame)
    assert done.result["passed"]
    assert done.result["hash"] == sha256_json({k: v for k, v in done.result.items() if k != "hash"})
    assert pq.read_schema(tmp_path / RECEIPTS).equals(RECEIPTS_SCHEMA)
    assert done.receipts["row"].tolist() == list(range(COUNT))
    pd.testing.assert_frame_equal(done.receipts.drop(columns="row"), frame, check_dtype=False)
    assert done.metrics["data"]["customers"] == frame["customer_id"].nunique()
    assert done.metrics["data"]["days_without_receipts"] > 0  # days without receipts are days like others
    assert {page.name for page in (tmp_path / VALIDATION / "docs").iterdir()} == {
        "index.html",
        "suite-lines.html",
        "suite-receipts.html",
    }


BROKEN = {
    "amount is no number": ("amount", "abc"),
    "amount missing": ("amount", None),
    "quantity is no number": ("quantity", "many"),
    "unreadable date": ("timestamp", "soon"),
    "date missing": ("timestamp", None),
    "date far from all others": ("timestamp", "2091-01-01"),
    "future date": ("timestamp", "2022-12-01"),
    "absurd amount": ("amount", "1e12"),
    "receipt number missing": ("receipt_id", None),
    "return": ("amount", "-5.00"),
    "customer missing": ("customer_id", None),
}


@pytest.fixture(scope="module")
def broken():
    """A tenth of the lines is broken, each kind three to six times; line → reason."""
    frame = good().astype({"timestamp": "str", "quantity": "str", "amount": "str"})
    reasons = {}
    for place, (reason, (column, value)) in enumerate(BROKEN.items()):
        for row in range(5 + place, COUNT, 130):
            frame.loc[row, column] = value
            reasons[row] = reason
    copies = [len(frame), len(frame) + 1]
    frame = pd.concat([frame, frame.iloc[[50, 60]]], ignore_index=True)
    reasons |= dict.fromkeys(copies, "duplicate receipt")
    frame.loc[[70, 71], "receipt_id"] = "1070"
    frame.loc[[70, 71], "customer_id"] = ["x", "y"]
    reasons |= dict.fromkeys([70, 71], "receipt of several customers")
    return frame, reasons


LIMITS = {"now": datetime(2022, 6, 1)}


@pytest.mark.parametrize("name", ["receipts.parquet", "receipts.csv"])
def test_a_tenth_of_broken_lines_is_quarantined_with_its_reasons(tmp_path, broken, name):
    frame, reasons = broken
    done = Ingested(tmp_path, frame, limits=LIMITS, name=name)
    assert done.error is None
    assert dict(zip(done.quarantine["row"], done.quarantine["reason"], strict=True)) == reasons
    shown = done.quarantine.set_index("row")
    assert shown.loc[5, "amount"] == "abc"
    assert shown.loc[8, "timestamp"] == "soon"
    expected = frame.drop(index=list(reasons))
    assert done.receipts["receipt_id"].tolist() == expected["receipt_id"].tolist()
    assert done.receipts["amount"].tolist() == expected["amount"].astype(float).tolist()


def test_published_mode_reports_and_lets_through_what_can_be_read(tmp_path, broken):
    frame, reasons = broken
    done = Ingested(tmp_path, frame, "published", limits=LIMITS | {"max_quarantined_fraction": 0.01})
    assert done.error is None
    assert not done.result["passed"]
    unusable = ("missing", "unreadable", "no number")
    expected = {row: reason for row, reason in reasons.items() if any(word in reason for word in unusable)}
    assert dict(zip(done.quarantine["row"], done.quarantine["reason"], strict=True)) == expected
    counts = {each["check"]: each["unexpected_count"] for each in done.result["expectations"]}
    reported = set(reasons.values()) - set(expected.values()) - {"future date"}  # dates far away are in the future too
    assert {name: counts[name] for name in reported} == {name: list(reasons.values()).count(name) for name in reported}


def test_too_many_broken_lines_stop_the_stream_with_everything_written(tmp_path, broken):
    frame, reasons = broken
    done = Ingested(tmp_path, frame, limits=LIMITS | {"max_quarantined_fraction": 0.05})
    assert "all checks" in done.error
    assert "at most 5.00% allowed" in done.error
    assert len(done.quarantine) == len(reasons)
    assert "Stopped" in (tmp_path / VALIDATION / "docs" / "index.html").read_text()


def test_returns_and_strangers_do_not_count_as_broken(tmp_path):
    frame = good()
    frame.loc[::4, "customer_id"] = None
    frame.loc[1::4, "amount"] *= -1
    done = Ingested(tmp_path, frame, limits={"max_quarantined_fraction": 0})
    assert done.error is None
    assert done.result["reasons"] == {"customer missing": 100, "return": 100}


def test_mostly_strangers_is_a_wrong_column(tmp_path):
    frame = good()
    frame.loc[frame.index[:220], "customer_id"] = None
    assert "customer missing (customer_id): 220 unexpected" in Ingested(tmp_path, frame).error


def test_mixed_currencies_as_text(tmp_path):
    frame = good().astype({"amount": object})
    frame["amount"] = [f"{amount:.2f}" for amount in frame["amount"]]
    frame.loc[:2, "amount"] = ["R$ 12,50", "£3.20", "1.234,56"]
    done = Ingested(tmp_path, frame)
    assert done.result["reasons"] == {"mixed currencies": 2}
    assert "BRL, GBP" in done.result["warnings"][0]
    assert done.receipts["amount"][0] == 1234.56


def test_a_file_in_mixed_currencies_is_stopped(tmp_path):
    frame = good().astype({"amount": object})
    frame["amount"] = [f"{'£' if row % 2 else '€'} {amount:.2f}" for row, amount in enumerate(frame["amount"])]
    done = Ingested(tmp_path, frame)
    assert "mixed currencies" in done.error
    assert "no line was accepted" in done.error


def test_dates_in_three_formats(tmp_path):
    frame = good()
    styles = ("%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")
    texts = [time.strftime(styles[row % 3]) for row, time in enumerate(frame["timestamp"])]
    done = Ingested(tmp_path, frame.assign(timestamp=texts))
    found = done.receipts.set_index("receipt_id")["timestamp"]
    expected = frame.set_index("receipt_id")["timestamp"]
    assert (found == expected[found.index]).all()
    assert len(found) > 0.95 * COUNT
    assert set(done.result["reasons"]) <= {"ambiguous date"}


def test_dates_that_could_be_either_ask_the_user(tmp_path):
    frame = good(60).assign(receipt_id=[f"r-{row}" for row in range(60)]).sample(frac=1, random_state=0)
    frame["timestamp"] = [f"{row % 12 + 1:02d}/{row % 5 + 1:02d}/2020" for row in range(60)]
    done = Ingested(tmp_path, frame)
    assert "no line was accepted" not in done.error
    assert set(done.result["reasons"]) == {"ambiguous date"}
    assert "date_order" in done.result["warnings"][0]
    assert Ingested(tmp_path, frame, date_order="dmy").error is None


def test_columns_named_like_those_of_the_quarantine_keep_their_values(tmp_path):
    frame = good(30).assign(reason="gift", row="A", text="x").astype({"amount": "str"})
    frame.loc[3, "amount"] = "abc"
    refused = Ingested(tmp_path, frame).quarantine.iloc[0]
    assert (refused["row"], refused["reason"], refused["amount"]) == (3, "amount is no number", "abc")
    assert (refused["source.row"], refused["source.reason"], refused["source.text"]) == ("A", "gift", "x")


def swapped(frame):
    early = frame["timestamp"].dt.day <= 12
    turned = [time.replace(day=time.month, month=time.day) for time in frame.loc[early, "timestamp"]]
    return frame.assign(timestamp=frame["timestamp"].mask(early, pd.Series(turned, frame.index[early])))


def test_swapped_day_and_month_are_reported_and_repaired_on_request(tmp_path, capsys):
    frame = good()
    seen = Ingested(tmp_path, swapped(frame))
    assert seen.error is None
    assert "repair_dates: true" in seen.result["warnings"][0]
    assert "repair_dates: true" in capsys.readouterr().err
    assert seen.metrics["dates"]["swapped"]
    assert seen.receipts["timestamp"].tolist() == sorted(swapped(frame)["timestamp"])
    repaired = Ingested(tmp_path, swapped(frame), repair_dates=True)
    assert repaired.result["warnings"] == []
    assert repaired.receipts["timestamp"].tolist() == frame["timestamp"].tolist()
    assert repaired.metrics["dates"]["swapped_back"] == (swapped(frame)["timestamp"] != frame["timestamp"]).sum()
    untouched = Ingested(tmp_path, frame, repair_dates=True)
    assert "nothing was changed" in untouched.result["warnings"][0]
    assert untouched.receipts["timestamp"].tolist() == frame["timestamp"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.assign(customer_id="7"), "only one customer"),
        (lambda frame: frame.assign(timestamp=frame["timestamp"][0]), "all receipts on one day"),
    ],
)
def test_what_no_churn_can_be_learnt_from(tmp_path, change, message):
    assert message in Ingested(tmp_path, change(good())).error
    assert Ingested(tmp_path, change(good()), "published").error is None


def test_no_receipts(tmp_path):
    good(0).to_csv(tmp_path / "receipts.csv", index=False)
    with pytest.raises(BadInputError, match="holds no receipts"):
        run(tmp_path, {"source": {"receipts": str(tmp_path / "receipts.csv")}, "validate": {}})


def test_unknown_columns_and_parameters(tmp_path):
    path = tmp_path / "receipts.parquet"
    good().rename(columns={"timestamp": "when"}).to_parquet(path)
    with pytest.raises(BadInputError, match=r"No column for timestamp .*'when'.*--column timestamp=NAME"):
        run(tmp_path, {"source": {"receipts": str(path)}, "validate": {}})
    with pytest.raises(BadInputError, match=r"retail.source does not fit"):
        run(tmp_path, {"source": {"receipts": str(path), "colums": {}}, "validate": {}})
    with pytest.raises(BadInputError, match="mode is 'strict'"):
        run(tmp_path, {"source": {"receipts": str(path)}, "validate": {}, "examples": {"mode": "strict"}})


def test_a_failed_run_leaves_no_receipts_of_an_earlier_one(tmp_path):
    Ingested(tmp_path, good())
    done = Ingested(tmp_path, good().assign(customer_id="7"))
    assert done.error
    assert not (tmp_path / METRICS).exists()


def test_the_same_file_gives_the_same_bytes(tmp_path, broken):
    Ingested(tmp_path, broken[0])
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and "timing" not in path.name]
    before = {path: path.read_bytes() for path in files}
    Ingested(tmp_path, broken[0])
    assert {path: path.read_bytes() for path in files} == before


def test_the_lines_of_uci_become_receipts(tmp_path):
    lines = pd.DataFrame(
        {
            "Invoice": ["489434", "489434", "489435", "C489436", "489437", "489434"],
            "StockCode": ["85048", "79323P", "22350", "22350", "21871", "85048"],
            "Description": ["LIGHTS", "BOWL £", "MUG", "MUG", "LATTE", "LIGHTS"],
            "Quantity": [12, 2, 3, -3, 6, 12],
            "InvoiceDate": ["01/12/2009 07:45", "01/12/2009 07:46", "15/12/2009 09:06", "15/12/2009 10:00"] * 1
            + ["16/12/2009 09:00", "01/12/2009 07:45"],
            "Price": ["6,95", "1,5", "2,55", "2,55", "1,25", "6,95"],
            "Customer ID": ["13085.0", "13085.0", "13078.0", "13078.0", None, "13085.0"],
            "Country": ["United Kingdom"] * 6,
        }
    )
    done = Ingested(tmp_path, lines, name="uci.csv", limits={"max_quarantined_fraction": 0.3})
    assert done.quarantine[["row", "reason"]].to_numpy().tolist() == [
        [3, "return"],
        [4, "customer missing"],
        [5, "duplicate receipt"],
    ]
    assert done.receipts.drop(columns="amount").to_numpy().tolist() == [
        ["489434", "13085", 14.0, pd.Timestamp("2009-12-01 07:45"), 0],
        ["489435", "13078", 3.0, pd.Timestamp("2009-12-15 09:06"), 2],
    ]
    assert done.receipts["amount"].tolist() == pytest.approx([86.4, 7.65])
    assert done.metrics["data"]["products"] == 3


@pytest.mark.skipif(DATA is None, reason="EVERGREEN_BENCH_DATA is not set")
def test_the_uk_receipts_repaired_are_the_corrected_ones(tmp_path):
    file = pd.read_parquet(Path(DATA) / "retail" / "uk_retail_receipts.parquet")
    repaired = Ingested(tmp_path, file, repair_dates=True).receipts
    assert len(repaired) == len(file)
    given = Ingested(tmp_path, file, columns={"timestamp": "timestamp_fixed"}).receipts
    pd.testing.assert_frame_equal(repaired, given)
