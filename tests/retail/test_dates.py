from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.dates import parse_dates


def column(values):
    return pd.Series(list(values), dtype=object)


def read(*values, order=None):
    return [
        None if pd.isna(value) else str(value) for value in parse_dates(column(values), order).values.astype("M8[s]")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2009-12-01 07:45:00", "2009-12-01T07:45:00"),
        ("2009-12-01T07:45", "2009-12-01T07:45:00"),
        ("2009-12-01", "2009-12-01T00:00:00"),
        ("2009-12-01T07:45:00Z", "2009-12-01T07:45:00"),
        ("2009-12-01 07:45:00.123456+02:00", "2009-12-01T07:45:00"),
        ("2009/12/1", "2009-12-01T00:00:00"),
        ("20091201", "2009-12-01T00:00:00"),
        ("31/12/2009 7:05", "2009-12-31T07:05:00"),
        ("12/31/2009 11:05:09 PM", "2009-12-31T23:05:09"),
        ("12/31/2009 12:05 AM", "2009-12-31T00:05:00"),
        ("12/31/2009 12:05 pm", "2009-12-31T12:05:00"),
        ("31.12.09", "2009-12-31T00:00:00"),
        ("31-12-99", "1999-12-31T00:00:00"),
        ("1 Dec 2009 07:45", "2009-12-01T07:45:00"),
        ("01-December-2009", "2009-12-01T00:00:00"),
        ("7/7/2009", "2009-07-07T00:00:00"),
        ("1259653500", "2009-12-01T07:45:00"),
        ("1259653500000", "2009-12-01T07:45:00"),
        (20091201, "2009-12-01T00:00:00"),
        (20091201.0, "2009-12-01T00:00:00"),
        (date(2009, 12, 1), "2009-12-01T00:00:00"),
        (datetime(2009, 12, 1, 7, 45), "2009-12-01T07:45:00"),
        (pd.Timestamp("2009-12-01 07:45"), "2009-12-01T07:45:00"),
    ],
)
def test_what_can_be_read(text, expected):
    assert read(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "31/04/2009",
        "2009-02-30",
        "13/13/2009",
        "2009-13-01",
        "25:00",
        "2009-12-01 25:00",
        "1.5",
        "2009-1201",
    ],
)
def test_what_is_no_date(text):
    found = parse_dates(column([text]))
    assert np.isnat(found.values).all()
    assert not found.ambiguous.any()
    assert not found.missing.any()


def test_missing_dates_are_told_from_unreadable_ones():
    found = parse_dates(column(["2009-12-01", None, "soon"]))
    assert found.missing.tolist() == [False, True, False]
    assert np.isnat(found.values).tolist() == [False, True, True]


def test_typed_columns_keep_the_wall_clock():
    local = pd.Series(pd.to_datetime(["2009-12-01 07:45"]).tz_localize("Europe/Rome"))
    assert parse_dates(local).values.tolist() == parse_dates(local.dt.tz_localize(None)).values.tolist()
    assert parse_dates(pd.Series(pd.to_datetime([None, "2009-12-01"]))).missing.tolist() == [True, False]


def test_one_day_above_twelve_decides_for_the_column():
    assert read("03/04/2009", "13/04/2009") == ["2009-04-03T00:00:00", "2009-04-13T00:00:00"]
    assert read("03/04/2009", "04/13/2009") == ["2009-03-04T00:00:00", "2009-04-13T00:00:00"]


def test_without_evidence_dates_stay_ambiguous_unless_the_user_knows():
    found = parse_dates(column(["03/04/2009", "05/05/2009", "2009-12-01"]))
    assert found.ambiguous.tolist() == [True, False, False]
    assert np.isnat(found.values).tolist() == [True, False, False]
    assert read("03/04/2009", order="dmy") == ["2009-04-03T00:00:00"]
    assert read("03/04/2009", order="mdy") == ["2009-03-04T00:00:00"]


def test_three_formats_leave_open_only_what_could_be_either():
    found = parse_dates(column(["2009-04-03", "13/04/2009", "04/14/2009", "03/04/2009"]))
    assert found.ambiguous.tolist() == [False, False, False, True]
    assert found.formats == {"year first": 1, "day first": 1, "month first": 1, "day or month first": 1}
    assert (found.day_first[3], found.month_first[3]) == (np.datetime64("2009-04-03"), np.datetime64("2009-03-04"))


def test_a_typing_error_does_not_make_a_column_mixed():
    days = [f"{day:02d}/{month:02d}/2009" for month in range(1, 13) for day in range(1, 29)]
    found = parse_dates(column([*days, "01/31/2009"]))
    assert not found.ambiguous.any()
    assert np.isnat(found.values).sum() == 1


def test_a_given_order_refuses_the_other():
    assert read("04/13/2009", "13/04/2009", order="dmy") == [None, "2009-04-13T00:00:00"]


STYLES = ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%d %b %Y %H:%M:%S", "%Y%m%d %H:%M:%S")


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2060, 1, 1)), min_size=1),
    st.sampled_from([*STYLES, "%d/%m/%Y %H:%M:%S", "%m-%d-%Y %I:%M:%S %p"]),
)
def test_what_is_written_is_read(times, style):
    times = [time.replace(microsecond=0) for time in times]
    order = {"%d/": "dmy", "%m-": "mdy"}.get(style[:3])
    found = parse_dates(column([time.strftime(style) for time in times]), order)
    assert found.values.tolist() == times
