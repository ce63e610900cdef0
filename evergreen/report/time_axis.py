"""Time along the x axis of a drawing."""

from datetime import datetime

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num


def moment(value: str | datetime | pd.Timestamp) -> float:
    """A moment, ISO 8601 if it is text, as matplotlib's day number."""
    return float(date2num(datetime.fromisoformat(value) if isinstance(value, str) else value))  # type: ignore[no-untyped-call]


def date_axis(axes: Axes, at_least: int, at_most: int) -> None:
    """Label the x axis with so many dates, shortly: the month and the year once."""
    locator = AutoDateLocator(minticks=at_least, maxticks=at_most)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
