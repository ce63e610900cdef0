"""The churn and the process flow as a user runs them: a file in, a judged version, scores and a report out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from evergreen.files import read_json
from evergreen.process.motivating_example import events
from tasks.workspace import open_workspace
from tests.flows.conftest import EVERGREEN, Place, Ran, run_registry_example, settings_of


@dataclass(frozen=True)
class Done:
    """A run and where it was."""

    place: Place
    source: Path
    ran: Ran


def call(place: Place, *words: object) -> Ran:
    return place.run(str(EVERGREEN), *(str(word) for word in words), folder=place.home)


def write_receipts(path: Path, days: int) -> None:
    """Customers who buy every week or two until they stop, up to a day."""
    rng = np.random.default_rng(0)
    rows = []
    for customer in range(60):
        rate, day = rng.uniform(3, 15), rng.uniform(0, 60)
        leaves = day + rng.exponential(60)
        while day < min(leaves, 110):
            rows.append((f"c{customer}", day, round(float(rng.lognormal(3, 1)), 2)))
            day += rng.exponential(rate) + 0.1
    table = pd.DataFrame(rows, columns=["who", "day", "amount"]).sort_values("day")
    table = table[table["day"] < days]
    table["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(table["day"], unit="D")
    table.insert(0, "receipt_id", [f"r{i}" for i in range(len(table))])
    table.drop(columns="day").assign(quantity=1).to_csv(path, index=False)


LIGHT = {
    "retail": {"evergreen": {"learner": {"first_steps": 60, "steps": 2, "linear_rows": 2000}}},
    "process": {"settings": {"evergreen": {"model": {"replay": {"warm_up_epochs": 1, "steps": 1}}}}},
}
"""As much training as a flow needs to have something to register."""


def run_flow(base: Path, domain: str, option: str, source: Path, *more: str) -> Done:
    place = Place(base / "work", base / "home")
    place.home.mkdir(parents=True, exist_ok=True)
    with open_workspace(settings_of(place.home), domain, workdir=place.root, values={"online": LIGHT[domain]}):
        pass
    ran = call(place, "run", domain, option, source, "--workdir", place.root, *more)
    assert ran.code == 0, ran
    return Done(place, source, ran)


def stop(place: Place) -> None:
    for process in place.processes():
        process.kill()


@pytest.fixture(scope="module")
def process_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    base = tmp_path_factory.mktemp("process")
    log = base / "log.csv"
    events().to_csv(log, index=False)
    done = run_flow(base, "process", "--log", log, "--mode", "published")
    yield done
    stop(done.place)


@pytest.fixture(scope="module")
def retail_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    base = tmp_path_factory.mktemp("retail")
    receipts = base / "receipts.csv"
    write_receipts(receipts, 100)
    columns = ("--column", "customer_id=who", "--column", "timestamp=when")
    done = run_flow(base, "retail", "--receipts", receipts, *columns, "--period-days", "15", "--churn-days", "15")
    yield done
    stop(done.place)


OUTPUTS = ("predictions.parquet", "metrics.json", "metrics.timing.json", "drifts.json", "report.html")


def check_results(done: Done, domain: str) -> None:
    for name in OUTPUTS:
        assert (done.place.root / name).is_file(), name
    scores = read_json(done.place.root / "metrics.json")["models"]["evergreen"]
    ledger = pq.read_table(done.place.root / "predictions.parquet")
    assert scores["n_scored"] <= len(ledger)
    assert 0 < scores["macro_f1"] <= 1
    assert set(ledger.column_names) >= {"example_id", "model", "model_version", "predicted_at", "prediction", "label"}
    assert "is the champion: no champion yet" in done.ran.out
    assert f"{domain}-work version 1" in done.ran.out
    assert not (done.place.root / "data" / domain / "champion").exists()  # there was none to compare with


def test_process_flow_leaves_its_results(process_run: Done) -> None:
    check_results(process_run, "process")
    drifts = read_json(process_run.place.root / "drifts.json")
    assert all(entry["event_index"] >= 0 for entry in drifts)


def test_second_run_finds_nothing_new(process_run: Done) -> None:
    again = call(process_run.place, "run", "process", "--workdir", process_run.place.root)
    assert again.code == 0, again
    assert "Nothing new: version 1" in again.out


def test_open_cases_are_scored_with_the_champion(process_run: Done, tmp_path: Path) -> None:
    log = pd.read_csv(process_run.source)  # a trace begins when the one before it is over
    log.iloc[:-2].to_csv(tmp_path / "running.csv", index=False)
    output = tmp_path / "scores.parquet"
    ran = call(process_run.place, "score", "process", "--input", tmp_path / "running.csv", "--output", output)
    assert ran.code == 0, ran
    scores = pq.read_table(output).to_pandas()
    assert log["case_id"].iloc[-1] in set(scores["case_id"])
    assert len(scores) < 5
    assert scores["probability"].between(0, 1).all()
    assert (scores["remaining_days"] >= 0).all()
    assert set(scores["model_version"]) == {"1"}
    times = pd.to_datetime(log["timestamp"]).dt.tz_localize(None)
    running = log.drop(columns="resource").assign(timestamp=times).iloc[:-2]
    names = run_registry_example(
        settings_of(process_run.place.home), "process-helpdesk", "process-work", events=running
    )
    assert set(names["answers"]["case_id"]) == set(scores["case_id"])


def test_retail_flow_leaves_its_results(retail_run: Done) -> None:
    check_results(retail_run, "retail")
    examples = pq.read_schema(retail_run.place.root / "examples.parquet").names
    assert examples[:7] == [
        *("example_id", "day", "customer_id", "generated_on"),
        *("recency_1", "frequency_1", "monetary_1"),
    ]
    rows = pq.read_table(retail_run.place.root / "examples.parquet").to_pandas().head()
    names = run_registry_example(settings_of(retail_run.place.home), "retail-churn", "retail-work", examples=rows)
    assert names["answers"]["risk"].between(0, 1).all()


def test_customers_of_a_day_are_scored_with_reasons(retail_run: Done, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    place = ("--column", "customer_id=who", "--column", "timestamp=when", "--day", "2026-03-15")
    ran = call(retail_run.place, "score", "retail", "--input", retail_run.source, "--output", output, *place)
    assert ran.code == 0, ran
    scores = pd.read_csv(output)
    assert {"customer_id", "risk", "reasons", "model_version", "scored_at"} <= set(scores.columns)
    assert scores["risk"].is_monotonic_decreasing
    assert scores["risk"].between(0, 1).all()
    assert set(scores["day"]) == {"2026-03-15"}
    assert scores["reasons"].str.contains("the risk").all()


def test_a_new_day_costs_no_training(retail_run: Done) -> None:
    write_receipts(retail_run.source, 102)
    followed = call(retail_run.place, "daily", "--workdir", retail_run.place.root)
    assert followed.code == 0, followed
    assert "outcome followed" in followed.out
    assert "online" not in followed.out
    scores = retail_run.place.root / "data" / "retail" / "daily" / "scores"
    assert len(list(scores.iterdir())) == 1


@pytest.mark.slow
def test_new_receipts_make_a_new_version_that_is_judged(retail_run: Done) -> None:
    write_receipts(retail_run.source, 110)
    again = call(retail_run.place, "run", "retail", "--workdir", retail_run.place.root)
    assert again.code == 0, again
    assert "version 2" in again.out
    judged = read_json(retail_run.place.root / "data" / "retail" / "metrics" / "evaluate.json")
    assert judged["champion"] is not None
    assert judged["n_gate"] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "retail", "--receipts", "nowhere.csv"), "does not exist"),
        (("run", "process"), "has no source yet"),
        (("run", "retail", "--first-day", "tomorrow"), "expected YYYY-MM-DD"),
        (("run", "process", "--column", "case_id"), "FIELD=NAME"),
        (("run", "retail", "--models", "evergreen,,tsunami"), "empty name"),
    ],
)
def test_bad_options_end_with_one_message(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    place = Place(tmp_path / "work", tmp_path / "home")
    place.home.mkdir()
    ran = call(place, *words, "--workdir", place.root)
    assert ran.code == 2
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_a_folder_is_the_workspace_of_one_domain(process_run: Done, tmp_path: Path) -> None:
    receipts = tmp_path / "receipts.csv"
    write_receipts(receipts, 100)
    ran = call(process_run.place, "run", "retail", "--receipts", receipts, "--workdir", process_run.place.root)
    assert ran.code == 2
    assert "is a workspace of process" in ran.err
