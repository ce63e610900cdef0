"""`evergreen score retail` and `evergreen score process`: a day's customers, or the open cases of a log."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.errors import BadInputError
from tasks.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.versions import ModelVersionInfo


@dataclass(frozen=True)
class Asked:
    """What a score command was given.

    Attributes:
        source: file, folder or database.
        output: .parquet or .csv.
        model: registered name, None for the domain's own.
        version: its number, None for the champion.
        columns: field → name in the source.
        table: of a database.
        day: of retail; None for the day of the last receipt.
    """

    source: str
    output: Path
    model: str | None
    version: str | None
    columns: dict[str, str]
    table: str | None
    day: str | None


def score_table(domain: str, asked: Asked) -> None:
    """Score with the registered champion and say what came out.

    Raises:
        BadInputError: the source cannot be read, or there is no champion.
    """
    info, model = _champion(domain, asked)
    run = _retail if domain == "retail" else _process
    table, told = run(asked, info, model)
    from evergreen.retail.score import write_scores

    write_scores(asked.output, table)
    print(f"{told}, scored with {info.name} version {info.version}: {asked.output}")


def _champion(domain: str, asked: Asked) -> "tuple[ModelVersionInfo, Any]":
    from tasks.mlflow_store import connect
    from tasks.registry import load
    from tasks.versions import champion, choose_model, get_version

    settings = Settings.load().apply()
    client = connect(settings)
    name = choose_model(client, domain, asked.model)
    info = get_version(client, name, asked.version) if asked.version is not None else champion(client, name)
    return info, load(settings, info, domain)


def _retail(asked: Asked, info: "ModelVersionInfo", model: Any) -> "tuple[pa.Table, str]":
    from evergreen.retail.ingest_config import SourceConfig
    from evergreen.retail.score import read_receipts_of, score_day

    quarantine = asked.output.with_suffix(".quarantine.parquet")
    values = {"receipts": asked.source, "columns": asked.columns, "table": asked.table}
    source = SourceConfig.read(values, "the options")
    read = read_receipts_of(source, asked.output.parent / "downloads", quarantine)
    table = score_day(read.receipts, _day(asked.day), model, info.name, info.version, datetime.now(UTC))
    if read.refused:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in read.refused.items())
        print(f"Not used of {read.lines:,} lines: {kinds}; each with its reason in {quarantine}.")
    at_risk = sum(table["churn"].to_pylist())
    day = table["day"][0].as_py() if len(table) else asked.day
    return table, f"{len(table):,} active customers of {day}, {at_risk:,} of them at risk"


def _process(asked: Asked, info: "ModelVersionInfo", model: Any) -> "tuple[pa.Table, str]":
    from evergreen.process.log_source import SourceConfig
    from evergreen.process.score import Identity, read_events_of, score_open_cases
    from tasks.user_source import source_values

    values = source_values("process", asked.source) | {"columns": asked.columns, "table": asked.table}
    events, lines = read_events_of(SourceConfig.read(values, "the options"), Path.cwd())
    table = score_open_cases(events, model, Identity(info.name, info.version, datetime.now(UTC)))
    return table, f"{len(table):,} open cases of {lines:,} events"


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text is not None else None
    except ValueError as error:
        raise BadInputError(f"--day {text} is no day, expected YYYY-MM-DD.") from error
