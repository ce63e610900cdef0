"""HTML pages from templates: self-contained, the same bytes for the same context."""

from collections.abc import Callable
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evergreen.files import write_atomically

MISSING = "–"


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template of this package. A name that the context lacks is an error, not a blank."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evergreen.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    style = Markup(resources.files("evergreen.report").joinpath("style.css").read_text())
    return environment.get_template(template).render(style=style, **context)


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all."""
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"))


def percent(value: float | None, digits: int = 1) -> str:
    r"""A fraction of 1 as percent.

    >>> percent(0.6123), percent(None)
    ('61.2\u202f%', '–')
    """
    return MISSING if value is None else f"{100 * value:.{digits}f}\u202f%"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign.

    >>> points(0.034), points(-0.002)
    ('+3.4', '−0.2')
    """
    return MISSING if value is None else f"{100 * value:+.{digits}f}".replace("-", "−")


def whole(value: int | None) -> str:
    """A whole number with separators.

    >>> whole(50000)
    '50,000'
    """
    return MISSING if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A number of things, by a noun whose plural is regular.

    >>> counted(1, "window"), counted(2500, "image")
    ('1 window', '2,500 images')
    """
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def number(value: float | None, digits: int = 3) -> str:
    """A measured value to some significant digits.

    >>> number(0.00012345), number(4.9), number(-1200.0)
    ('0.000123', '4.9', '−1,200')
    """
    if value is None:
        return MISSING
    text = f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
    return text.replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value: tiny ones are only called tiny.

    >>> p_value(0.0312), p_value(3e-9), p_value(0.0)
    ('0.031', '< 0.0001', '< 0.0001')
    """
    if value is None:
        return MISSING
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def short(value: str | None) -> str:
    """The first 12 digits of a hash."""
    return MISSING if value is None else value[:12]


def day(value: str | datetime | None) -> str:
    """The calendar day of a moment in ISO 8601."""
    return MISSING if value is None else str(value)[:10]


def minute(value: str | datetime | None) -> str:
    """A moment in ISO 8601 without its seconds: ``2026-01-21 00:00``."""
    return MISSING if value is None else str(value)[:16].replace("T", " ")


FILTERS: dict[str, Callable[..., str]] = {
    f.__name__: f for f in (percent, points, whole, counted, number, p_value, short, day, minute)
}
