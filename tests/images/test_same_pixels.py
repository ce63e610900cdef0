"""Which of several rows with the same pixels counts, against a reading of the rules one image at a time."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.images.same_pixels import settle

COLUMNS = ["labelled_as", "moved_to", "copy_of_test_image", "contradicts", "duplicate_of"]
NONE = dict.fromkeys(COLUMNS)


def frame_of(rows):
    """(image_id, pixels, label, split) each."""
    frame = pd.DataFrame(rows, columns=["image_id", "sha256", "label", "split"]).astype(object)
    return frame, frame["sha256"]


def settled(rows, tests=(), gone=()):
    frame, pixels = frame_of(rows)
    found = settle(frame, pixels, frame_of(tests)[0] if tests else None, gone)
    assert list(found) == COLUMNS
    assert len(found) == len(frame)
    return [{k: None if pd.isna(v) else v for k, v in row.items()} for row in found.to_dict("records")]


OLD, CAT, DOG = ("old", "p", None, "train"), ("cat/x", "p", "cat", "train"), ("dog/x", "p", "dog", "val")


@pytest.mark.parametrize("gone", [(), ("old",)])
@pytest.mark.parametrize("rows", [[OLD, CAT], [CAT, OLD]], ids=["later", "earlier"])
def test_a_labelled_copy_outranks_an_unlabelled_one(rows, gone):
    verdict = dict(zip([row[0] for row in rows], settled(rows, gone=gone), strict=True))
    assert verdict == {"old": NONE | {"labelled_as": "cat/x"}, "cat/x": NONE}


def test_an_image_of_the_gate_is_a_labelled_copy():
    assert settled([OLD, ("g", "p", None, "gate")]) == [NONE | {"labelled_as": "g"}, NONE]


def test_a_copy_that_became_a_test_image_is_labelled_later_and_no_leak():
    test = ("cat/t", "p", "cat", "test")
    assert settled([OLD], [test], ["old"]) == [NONE | {"labelled_as": "cat/t"}]
    assert settled([CAT], [test]) == [NONE | {"copy_of_test_image": "cat/t"}]


def test_of_a_benchmark_a_copy_of_a_test_image_stays_one_and_the_first_copy_counts():
    test = ("t", "p", "cat", "test")
    assert settled([OLD], [test], None) == [NONE | {"copy_of_test_image": "t"}]
    assert settled([OLD, CAT, DOG], gone=None) == [NONE, NONE | {"duplicate_of": "old"}, NONE | {"duplicate_of": "old"}]


def test_a_label_is_corrected_by_moving_the_file_and_moving_it_back():
    assert settled([CAT, DOG], gone=["cat/x"]) == [NONE | {"moved_to": "dog/x"}, NONE]
    assert settled([CAT, DOG], gone=["dog/x"]) == [NONE, NONE | {"moved_to": "cat/x"}]


def test_a_label_is_withdrawn_by_moving_the_file_away():
    assert settled([CAT, OLD], gone=["cat/x"]) == [NONE | {"moved_to": "old"}, NONE]


def test_a_removed_file_stays_in_the_stream():
    assert settled([CAT], gone=["cat/x"]) == [NONE]


@pytest.mark.parametrize("gone", [(), ("cat/x", "dog/x")])
def test_labels_that_contradict_each_other_are_all_refused(gone):
    refused = settled([CAT, DOG], gone=gone)
    assert [row["contradicts"] for row in refused] == ["cat/x", "cat/x"]
    assert settled([OLD, CAT, DOG])[0] == NONE | {"labelled_as": "cat/x"}


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["cat", "dog", None]), st.booleans(), st.booleans()), max_size=9
)


@given(rows=ROWS, tests=st.sets(st.sampled_from("ab")))
@settings(max_examples=200, deadline=None)
def test_every_image_is_settled_by_the_rules_of_the_module(rows, tests):
    """Of each pixel group: what is there outranks what is gone, then labels outrank none, then they must agree."""
    ids = [str(number) for number in range(len(rows))]
    gone = [name for name, row in zip(ids, rows, strict=True) if row[2]]
    given_rows = [
        (name, pixels, None if gate else label, "gate" if gate else "train")
        for name, (pixels, label, _, gate) in zip(ids, rows, strict=True)
    ]
    verdicts = settled(given_rows, [(f"t{p}", p, "cat", "test") for p in sorted(tests)], gone)
    for pixels in "ab":
        group = [row for row in given_rows if row[1] == pixels]
        there = [row for row in group if row[0] not in gone]
        current = there if there or pixels in tests else group
        labelled = [row for row in current if row[2] or row[3] == "gate"]
        kept = [] if pixels in tests and not labelled else labelled or current
        labels = {row[2] for row in kept if row[2]}
        for row in group:
            verdict = verdicts[int(row[0])]
            if row not in kept:
                assert (verdict["labelled_as"] is None) != (verdict["moved_to"] is None)
            elif pixels in tests:
                assert verdict["copy_of_test_image"] == f"t{pixels}"
            elif row[2] and len(labels) > 1:
                assert verdict["contradicts"] is not None
            else:
                assert verdict == NONE | {"duplicate_of": None if row == kept[0] else kept[0][0]}
