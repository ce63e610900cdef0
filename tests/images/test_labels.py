import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.images.labels import draw_known, known_classes, read_labels, write_labels

SPLITS = st.lists(st.sampled_from(["train", "val", "gate"]), min_size=1, max_size=300).map(np.array)


@given(splits=SPLITS, fraction=st.floats(0, 1), seed=st.integers(0, 99), day=st.integers(0, 99))
def test_exactly_the_share_asked_for_is_known_and_never_a_gate_image(splits, fraction, seed, day):
    count = round(fraction * len(splits))
    if count > (splits != "gate").sum():
        with pytest.raises(BadInputError, match="Lower known_fraction or gate_fraction"):
            draw_known(splits, fraction, seed, day)
        return
    known = draw_known(splits, fraction, seed, day)
    assert known.sum() == count
    assert not known[splits == "gate"].any()
    np.testing.assert_array_equal(known, draw_known(splits, fraction, seed, day))


def test_days_and_seeds_have_draws_of_their_own():
    splits = np.array(["train"] * 500)
    draws = {tuple(np.flatnonzero(draw_known(splits, 0.02, seed, day))) for seed in range(4) for day in range(4)}
    assert len(draws) == 16


def test_every_candidate_is_equally_likely():
    splits = np.array((["train"] * 6 + ["val"] * 2 + ["gate"] * 2) * 5)
    hits = sum(draw_known(splits, 0.2, 0, day).astype(int) for day in range(2000))
    candidates = hits[splits != "gate"]
    expected = 2000 * 10 / 40
    assert abs(candidates - expected).max() < 5 * np.sqrt(expected)


def test_label_files_are_sorted_and_exist_without_rows(tmp_path):
    write_labels(tmp_path / "a.parquet", pd.DataFrame({"image_id": ["b", "a"], "label": ["cat", "dog"]}))
    assert read_labels(tmp_path / "a.parquet").values.tolist() == [["a", "dog"], ["b", "cat"]]
    write_labels(tmp_path / "b.parquet", pd.DataFrame({"image_id": [], "label": []}, dtype=str))
    assert len(read_labels(tmp_path / "b.parquet")) == 0
    with pytest.raises(BadInputError, match="missing"):
        read_labels(tmp_path / "c.parquet")


def test_classes_are_those_of_known_labels():
    assert known_classes([pd.DataFrame({"label": [None, None]})]) == []
    assert known_classes([pd.DataFrame({"label": ["b", None, "a"]}), pd.DataFrame({"label": ["b"]})]) == ["a", "b"]
