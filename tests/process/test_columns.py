import pytest

from evergreen.errors import BadInputError
from evergreen.process.columns import find_columns

ROLES = ("case_id", "activity", "timestamp", "resource")


@pytest.mark.parametrize(
    "there",
    [
        ("case:concept:name", "concept:name", "time:timestamp", "org:resource"),
        ("Case ID", "Activity", "Complete Timestamp", "Resource"),
        ("CaseID", "ActivityID", "CompleteTimestamp", "Resource"),
        ("case_id", "activity", "timestamp", "resource"),
        ("CASE", "EVENT", "TIME", "USER"),
    ],
)
def test_well_known_spellings_are_found(there):
    assert find_columns(("x", *there[::-1]), {}, "log") == dict(zip(ROLES, there, strict=True))


def test_the_usual_export_of_an_xes_is_understood():
    there = ("concept:name", "case:concept:name", "lifecycle:transition", "time:timestamp", "case:channel")
    expected = {"case_id": "case:concept:name", "activity": "concept:name", "timestamp": "time:timestamp"}
    assert find_columns(there, {}, "log") == expected
    assert find_columns(there, {}, "log", lifecycle=True) == {**expected, "lifecycle": "lifecycle:transition"}


def test_named_columns_come_first_and_are_not_used_twice():
    there = ("case", "activity", "timestamp", "event time", "concept:name")
    found = find_columns(there, {"timestamp": "event time", "activity": "activity"}, "log")
    assert found == {"case_id": "case", "activity": "activity", "timestamp": "event time"}
    assert find_columns(("case", "activity", "event"), {"timestamp": "activity"}, "log")["activity"] == "event"


@pytest.mark.parametrize(
    ("there", "named", "message"),
    [
        (("a", "b"), {}, "log has no column that looks like case_id or activity or timestamp. It has: a, b"),
        ((), {}, "It has: none"),
        (
            ("case", "activity", "b"),
            {},
            "looks like timestamp. It has: case, activity, b. Say .* --column timestamp=NAME",
        ),
        (
            ("case", "activity", "time"),
            {"resource": "who"},
            "log has no column 'who' for resource. It has: case, activity",
        ),
        (
            ("case", "activity", "time"),
            {"who": "case"},
            "--column who=…: there is no such column. Expected one of case_id",
        ),
        (("case", "activity", "time"), {"resource": "case", "case_id": "case"}, "named twice"),
    ],
)
def test_what_cannot_be_told_is_said_with_the_columns_found(there, named, message):
    with pytest.raises(BadInputError, match=message):
        find_columns(there, named, "log")


def test_a_log_without_lifecycle_cannot_be_joined_with_it():
    with pytest.raises(BadInputError, match="looks like lifecycle"):
        find_columns(("case", "activity", "time"), {}, "log", lifecycle=True)
