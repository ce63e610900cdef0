"""Step `examples`: receipts → labelled churn examples, one for every active customer at the end of every day.

``published`` is the stream of Pasquadibisceglie et al. (2023) as their system builds it. ``default`` has the same
features, outcomes and horizon, without its mistakes:

- *The last day counts.* Published: the clock stops before the day of the last receipt, and that day's receipts are
  lost. Default: days run up to and including it, or up to ``last_day``.
- *Examples without an outcome stay.* Published: what is pending at the end is dropped. Default: it is kept with an
  empty label, and is what there is to predict.
- *Labels have the time at which they are known.* A return: published 23:59:59 of its day, default the time of its first
  receipt. Churn: published 23:59:59, default the last microsecond of the day, so that no receipt of the day comes
  after. An example in the middle of a day, whose customer comes back the same day: published the example's own time,
  as if it were known at once; default the time of the next receipt.
- *Equal times keep the order of the receipts as given*; published, a database's mood decides. Published mode keeps the
  order as well, so it differs from the authors' file in the money of a few examples in the middle of a day.
- *The horizon may be longer than the periods.* Published: refused. A customer whose last purchase is older than
  all periods has no purchase in any of them, and is still active.

What both share: every receipt is a purchase, whatever its amount (step `ingest` sets returns aside). The horizon counts
from the last purchase: an example made a days after it asks about the next ``churn_days`` - a days. No example needs a
second receipt of its customer. The first days have short histories: a period that began before the first receipt
looks as if nothing was bought in it, and nobody churns in the first ``churn_days`` days. Returns are known sooner than
churn, so outcomes are not a fair sample of the examples of a day until ``churn_days`` days later. The file says when
an example was made (``generated_on``) and when its outcome was known (``day``), so that it can be scored at the one and
learnt from at the other.

A customer that the published system forgets, because its window is empty, needs nothing here: it has no example that
waits, and all it did is older than every period.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.retail.example_partitions import Definition, write_examples
from evergreen.retail.example_tally import Tally

if TYPE_CHECKING:
    from distributed import Client

EPOCH = date(1970, 1, 1)


class ExamplesConfig(Config):
    """What an example is.

    Attributes:
        mode: ``published`` or ``default``; see the module's text.
        period_days: length of a period of the features.
        periods: how many, one after the other, the youngest ending with the example's day.
        churn_days: a customer that buys nothing for so many days has churned.
        last_day: mode default: the last whole day that the receipts cover, by default the day of the last receipt.
            Later receipts are left out.
        partitions: into how many the customers are divided. The memory needed is that of the largest; the result is the
            same.
        cluster: None for this process; ``local`` for Dask workers on this machine; or the address of a Dask scheduler.
        workers: of a ``local`` cluster.
    """

    mode: Literal["default", "published"] = "default"
    period_days: int = pydantic.Field(120, ge=1, le=10_000)
    periods: int = pydantic.Field(3, ge=1, le=100)
    churn_days: int = pydantic.Field(120, ge=1, le=10_000)
    last_day: date | None = None
    partitions: int = pydantic.Field(1, ge=1, le=500)  # each is an open file while receipts are divided
    cluster: str | None = None
    workers: int = pydantic.Field(2, ge=1)

    @pydantic.model_validator(mode="after")
    def _published(self) -> Self:
        if self.mode == "published" and self.churn_days > self.periods * self.period_days:
            raise ValueError(
                f"in mode published churn_days ({self.churn_days}) may not be longer than all periods together "
                f"({self.periods} × {self.period_days} days); use mode default, or more periods"
            )
        if self.mode == "published" and self.last_day is not None:
            raise ValueError("last_day needs mode default: the published stream ends before the last receipt's day")
        return self

    @property
    def definition(self) -> Definition:
        """The part of it that the examples depend on."""
        last_day = None if self.last_day is None else (self.last_day - EPOCH).days
        return Definition(self.mode == "published", self.period_days, self.periods, self.churn_days, last_day)


def run(workspace: Path, params: Mapping[str, Any]) -> None:
    """Make the examples of a workspace's receipts: examples.parquet and data/retail/metrics/examples.json.

    Raises:
        BadInputError: there are no receipts, or a parameter does not fit.
    """
    config = ExamplesConfig.read(params["examples"], "params.yaml: retail.examples")
    receipts = workspace / "data" / "retail" / "receipts.parquet"
    if not receipts.is_file():
        raise BadInputError(f"{receipts} is missing. Run `evergreen step retail ingest` first.")
    started = time.perf_counter()
    tally = make_examples(receipts, workspace / "examples.parquet", config)
    metrics = workspace / "data" / "retail" / "metrics"
    write_json(metrics / "examples.json", summary(tally, config))
    write_json(metrics / "examples.timing.json", {"seconds": time.perf_counter() - started})


def make_examples(receipts: Path, output: Path, config: ExamplesConfig) -> Tally:
    """Make the examples of a file of receipts.

    Args:
        receipts: Parquet with customer_id (text), amount and timestamp, in an order that breaks ties of time.
        output: the file of examples; it appears when it is whole.
        config: what an example is.

    Raises:
        BadInputError: the receipts are no such file, or leave no examples.
    """
    with _client(config) as client:
        return write_examples(receipts, output, config.definition, config.partitions, client)


@contextmanager
def _client(config: ExamplesConfig) -> "Iterator[Client | None]":
    """The Dask client that the configuration asks for, if any."""
    if config.cluster is None:
        yield None
        return
    from distributed import Client, LocalCluster

    if config.cluster != "local":
        with Client(config.cluster) as client:  # type: ignore[no-untyped-call]
            yield client
        return
    workers = min(config.workers, config.partitions)
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 40}
    with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client


def summary(tally: Tally, config: ExamplesConfig) -> dict[str, Any]:
    """The content of examples.json."""
    months: dict[str, list[int]] = {}
    for day, rows, churned in zip(tally.days.tolist(), tally.rows.tolist(), tally.churned.tolist(), strict=True):
        month = months.setdefault(f"{EPOCH + timedelta(days=day):%Y-%m}", [0, 0])
        month[0] += rows
        month[1] += churned
    known, churned = int(tally.rows.sum()), int(tally.churned.sum())
    return {
        "mode": config.mode,
        "receipts": tally.receipts,
        "receipts_left_out": tally.left_out,
        "customers": tally.customers,
        "rows": known + tally.pending,
        "labelled": known,
        "pending": tally.pending,
        "days": len(tally.days),
        "first_day": _iso(tally.days[0]) if known else None,
        "last_day": _iso(tally.days[-1]) if known else None,
        "full_history_from": _iso(tally.first_receipt + config.period_days * config.periods - 1),
        "churn_share": churned / known if known else None,
        "churn_share_by_month": {month: churned / rows for month, (rows, churned) in months.items()},
    }


def _iso(day: int) -> str:
    return (EPOCH + timedelta(days=int(day))).isoformat()
