import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.dates import parse_dates
from evergreen.retail.receipt_order import (
    check_order,
    count_inversions,
    receipt_numbers,
    settle,
    swap_day_and_month,
)

DATA = os.environ.get("EVERGREEN_BENCH_DATA")


def times(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(np.datetime64("2009-12-01T08:00", "us") + rng.integers(0, 700 * 1440, count).astype("m8[m]"))


def test_inversions_as_a_double_scan_counts_them():
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 50, 200).astype(float)
    numbers[::17] = np.nan
    at = rng.permutation(times(200))
    first = {}
    for number, time in zip(numbers, at, strict=True):
        if not np.isnan(number):
            first.setdefault(number, time)
    ordered = [first[number] for number in sorted(first)]
    assert count_inversions(numbers, at) == sum(b < a for a, b in pairwise(ordered))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.datetimes(), min_size=1))
def test_swapping_twice_changes_nothing_and_late_days_stay(given_times):
    at = np.array(given_times, dtype="M8[us]")
    swapped = swap_day_and_month(at)
    assert (swap_day_and_month(swapped) == at).all()
    for before, after in zip(given_times, swapped.tolist(), strict=True):
        expected = before.replace(day=before.month, month=before.day) if before.day <= 12 else before
        assert after == expected


def test_nothing_is_swapped_into_an_unknown_time():
    assert np.isnat(swap_day_and_month(np.array(["NaT"], dtype="M8[us]"))).all()


def test_swapped_dates_are_noticed_and_true_ones_are_left_alone():
    at, numbers = times(300), np.arange(300.0)
    assert not check_order(numbers, at).swapped
    check = check_order(numbers, swap_day_and_month(at))
    assert check.swapped
    assert check.inversions > check.inversions_if_swapped == 0


def test_numbers_out_of_order_are_no_swap():
    rng = np.random.default_rng(0)
    assert not check_order(rng.permutation(300).astype(float), times(300)).swapped


def test_without_numbers_nothing_is_said():
    assert receipt_numbers(pd.Series(["a1f", "b2e", "c"], dtype="str")) is None
    assert not check_order(None, times(3)).possible


def test_cancelled_invoices_belong_to_the_numbering():
    numbers = receipt_numbers(pd.Series(["489434", "C489435", "489436", None], dtype="str"))
    assert np.isnan(numbers).tolist() == [False, True, False, True]


def mixed(at, seed=0):
    """Each date in one of three formats, drawn."""
    styles = np.random.default_rng(seed).choice(["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"], len(at))
    return [pd.Timestamp(time).strftime(style) for time, style in zip(at, styles, strict=True)]


@pytest.mark.parametrize("numbered", [True, False])
def test_three_formats_are_told_apart_by_the_order_of_receipts(numbered):
    at = times(2000)
    dates = parse_dates(pd.Series(mixed(at), dtype=object))
    assert dates.ambiguous.sum() > 300
    settled = settle(dates, np.arange(2000.0) if numbered else None)
    known = ~np.isnat(settled)
    assert (settled[known] == at[known]).all()
    assert known.mean() > 0.97


def test_without_any_order_ambiguous_dates_stay_open():
    at = np.random.default_rng(0).permutation(times(2000))
    dates = parse_dates(pd.Series(mixed(at), dtype=object))
    assert (settle(dates, None)[~dates.ambiguous] == dates.values[~dates.ambiguous]).all()
    assert np.isnat(settle(dates, None)[dates.ambiguous]).all()


@pytest.mark.parametrize("style", ["%d/%m/%Y", "%m/%d/%Y"])
@pytest.mark.parametrize("numbered", [True, False])
def test_early_days_alone_are_read_by_their_order(style, numbered):
    at = times(900)
    early = (at.astype("M8[D]") - at.astype("M8[M]").astype("M8[D]")).astype(int) < 12
    at = at[early].astype("M8[D]")
    dates = parse_dates(pd.Series([pd.Timestamp(time).strftime(style) for time in at], dtype=object))
    assert (settle(dates, np.arange(float(len(at))) if numbered else None) == at).all()


@pytest.mark.skipif(DATA is None, reason="EVERGREEN_BENCH_DATA is not set")
def test_the_uk_file_is_repaired_exactly():
    file = pd.read_parquet(Path(DATA) / "retail" / "uk_retail_receipts.parquet")
    raw, fixed = (file[name].to_numpy().astype("M8[us]") for name in ("timestamp", "timestamp_fixed"))
    check = check_order(receipt_numbers(file["receipt_id"].astype("str")), raw)
    assert (check.inversions, check.inversions_if_swapped, check.swapped) == (48, 5, True)
    assert (swap_day_and_month(raw) == fixed).all()
    assert (raw != fixed).sum() == 13_786
