from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.images.arrays import content_sha256, pixel_sha256
from evergreen.images.benchmark import Benchmark
from evergreen.images.corruption import gaussian_noise
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.simulated import days

RNG = np.random.default_rng(0)
DATA = Benchmark(
    name="toy",
    classes=("ant", "bee", "cow"),
    images=RNG.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8),
    labels=RNG.integers(0, 3, 300),
    test_images=RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8),
    test_labels=np.array([0, 1, 2, 0, 1]),
)
POSITION = {pixel_sha256(image): number for number, image in enumerate(DATA.images)}


def config(**changes):
    values = {
        "source": "digits",
        "first_day": "2026-02-27",
        "days": 4,
        "images_per_day": 50,
        "known_fraction": 0.1,
        "val_fraction": 0.2,
        "gate_fraction": 0.1,
        "test_fraction": 0.2,
        "noise_from_day": 3,
        "noise_severity": 3,
        "max_pixels": 1000,
    }
    return IngestConfig(**(values | changes))


CONFIGS = st.builds(
    config,
    days=st.integers(1, 6),
    images_per_day=st.integers(20, 50),
    known_fraction=st.floats(0, 0.3),  # few enough for any day, whatever the gate takes of it
    gate_fraction=st.floats(0, 0.1),
    noise_from_day=st.none() | st.integers(0, 6),
)


@given(config=CONFIGS, seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_no_image_is_lost_doubled_or_mislabelled(config, seed):
    stream = list(days(DATA, config, seed))
    index = pd.concat([day.index for day in stream], ignore_index=True)
    assert len(index) == config.days * config.images_per_day == index["image_id"].nunique()
    true = {DATA.image_id(number): DATA.classes[label] for number, label in enumerate(DATA.labels)}
    told = pd.concat([index.dropna(subset="label"), *(day.hidden for day in stream), *(day.gate for day in stream)])
    assert sorted(told["image_id"]) == sorted(
        index["image_id"]
    )  # each label is known, hidden or the gate's: one of them
    assert all(true[row.image_id] == row.label for row in told.itertuples())
    for day in stream:
        known = day.index["label"].notna()
        assert known.sum() == round(config.known_fraction * config.images_per_day)
        assert set(day.index["split"][known]) <= {"train", "val"}
        assert set(day.gate["image_id"]) == set(day.index["image_id"][day.index["split"] == "gate"])
        assert [pixel_sha256(image) for image in day.images] == day.index["sha256"].tolist()


@given(config=CONFIGS)
@settings(max_examples=25, deadline=None)
def test_arrivals_are_evenly_spread_from_midnight_on(config):
    for number, day in enumerate(days(DATA, config.model_copy(update={"known_fraction": 0.0}), 0)):
        midnight = pd.Timestamp(config.first_day, tz="UTC") + pd.Timedelta(days=number)
        assert day.name == midnight.date().isoformat()
        assert day.index["arrived_at"].iloc[0] == midnight
        assert day.index["arrived_at"].iloc[-1] < midnight + pd.Timedelta(days=1)
        steps = day.index["arrived_at"].diff().dropna()
        assert steps.nunique() <= 1
        assert (steps > pd.Timedelta(0)).all()


def test_noise_begins_on_its_day_and_is_the_images_own():
    for number, day in enumerate(days(DATA, config(), seed=4)):
        for image, image_id in zip(day.images, day.index["image_id"], strict=True):
            clean = DATA.images[int(image_id.removeprefix("toy-"))]
            expected = gaussian_noise(clean, 3, 4, image_id) if number >= 3 else clean
            np.testing.assert_array_equal(image, expected)


def test_more_days_leave_the_earlier_ones_as_they_are():
    short, long = (list(days(DATA, config(days=n), seed=1)) for n in (2, 6))
    for before, after in zip(short, long, strict=False):
        assert content_sha256(before.index) == content_sha256(after.index)
        np.testing.assert_array_equal(before.images, after.images)


def test_seed_decides_the_order_and_the_known_labels():
    def account(seed):
        return [content_sha256(day.index) for day in days(DATA, config(), seed)]

    assert account(0) == account(0)
    assert not set(account(0)) & set(account(1))
    order = [POSITION[sha256] for sha256 in next(days(DATA, config(), 0)).index["sha256"]]
    assert order != sorted(order)


def test_copies_of_one_image_share_a_split():
    copies = Benchmark(
        "toy", DATA.classes, np.repeat(DATA.images[:60], 5, axis=0), *[np.zeros(300, int)], DATA.images, DATA.labels
    )
    index = pd.concat([day.index for day in days(copies, config(days=6, noise_from_day=None), 0)])
    assert (index.groupby("sha256")["split"].nunique() == 1).all()
    assert index["split"].nunique() == 3


def test_a_source_that_is_too_small_is_named_with_both_numbers():
    with pytest.raises(BadInputError, match="7 days of 50 images, 350 in all, but toy has 300"):
        next(days(DATA, config(days=7), 0))


def test_a_month_ends_where_the_calendar_says():
    assert [day.name for day in days(DATA, config(), 0)] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert config().first_day == date(2026, 2, 27)
