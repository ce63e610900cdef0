"""The parameters of step `ingest` of the retail domain."""

from datetime import datetime
from typing import Literal, Self

import pydantic

from evergreen.config import Config


class SourceConfig(Config):
    """Where the receipts are and how to read them.

    Attributes:
        receipts: a file (Parquet, CSV or other delimited text, Excel), the folder with the Olist files, the URL of a
            database (environment variables like ``$PASSWORD`` are put in), or ``cdnow``: the data set that is fetched
            from the package registry.
        sha256: :func:`evergreen.retail.receipt_source.source_sha256` of what to read; None: whatever is there.
        table: of a database, with its schema as ``schema.table`` if need be.
        sheet: of an Excel file; None: all sheets with the same columns.
        columns: field → column, for columns whose names are not recognised.
        date_order: what 3/4/2011 means where neither the column nor the receipt numbers tell: the third of April
            (``dmy``) or the fourth of March (``mdy``).
        repair_dates: swap day and month back where the order of the receipt numbers shows that they were swapped.
    """

    receipts: str = pydantic.Field(min_length=1)
    sha256: str | None = None
    table: str | None = None
    sheet: str | None = None
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
    date_order: Literal["dmy", "mdy"] | None = None
    repair_dates: bool = False


class LimitsConfig(Config):
    """The limits of validation.

    Attributes:
        max_quarantined_fraction: largest share of broken lines. Returns, cancelled orders and lines without a customer
            are not broken; they count neither as broken lines nor among all lines.
        max_anonymous_fraction: largest share of lines without a customer. Shops sell to strangers too, but a column
            that is mostly empty is probably the wrong one.
        now: dates later than this are in the future, in the time zone of the receipts. None: nothing is compared with
            a clock, so that the same file gives the same receipts on any day.
    """

    max_quarantined_fraction: float = pydantic.Field(0.2, ge=0, le=1)
    max_anonymous_fraction: float = pydantic.Field(0.5, ge=0, le=1)
    now: datetime | None = None

    @pydantic.model_validator(mode="after")
    def _now_is_naive(self) -> Self:
        if self.now is not None and self.now.tzinfo is not None:
            raise ValueError("now is in the receipts' own time zone: give it without an offset")
        return self
