"""Nested metrics under one name each."""

import doctest
import math

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

import tasks.flatten
from tasks.flatten import flatten, series

texts = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def test_examples() -> None:
    assert doctest.testmod(tasks.flatten).failed == 0


def test_entries_are_named_by_what_tells_them_apart() -> None:
    value = {"per_class": [{"class": "cat", "recall": 0.5}, {"class": "dog", "recall": 1}], "interval": [-0.5, 0.5]}
    assert flatten(value, "e") == {
        "e/per_class/cat/recall": 0.5,
        "e/per_class/dog/recall": 1.0,
        "e/interval/0": -0.5,
        "e/interval/1": 0.5,
    }


def test_matrices_and_what_is_no_number_are_left_out() -> None:
    assert flatten({"confusion": [[1, 2], [3, 4]], "nan": math.nan, "inf": math.inf, "ok": True}, "p") == {"p/ok": 1.0}


def test_class_may_be_called_anything() -> None:
    names = ["a/b", "..", ".", "", "50 %", "né", "x" * 400]
    found = flatten([{"class": name, "n": 1} for name in names], "p")
    assert list(found) == ["p/a_b/n", "p/_/n", "p/50 _/n", "p/né/n", "p/" + "x" * 248]


@given(values)
def test_every_name_is_one_that_mlflow_takes(value: object) -> None:
    for name, number in flatten(value, "stage").items():
        _validate_metric_name(name)
        assert math.isfinite(number)


def test_curve_steps_are_epochs_or_places() -> None:
    assert series([{"epoch": 3, "loss": 2.0}, {"epoch": 4, "loss": 1.0}], "c") == [
        ("c/loss", 2.0, 3),
        ("c/loss", 1.0, 4),
    ]
    assert series([{"loss": 2.0}, {"loss": 1.0}], "c") == [("c/loss", 2.0, 0), ("c/loss", 1.0, 1)]
