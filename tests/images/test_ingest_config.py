from pathlib import Path

import pytest

from evergreen.config import read_yaml
from evergreen.errors import BadInputError
from evergreen.images.ingest_config import IngestConfig

DEFAULTS = read_yaml(Path(__file__).parents[2] / "params.yaml")["images"]["ingest"]


def read(**changes):
    return IngestConfig.read(DEFAULTS | changes, "params.yaml: images.ingest")


def test_the_repositorys_parameters_are_the_stream_of_25_days():
    config = read()
    assert (config.source, config.days, config.images_per_day, config.known_fraction) == ("cifar10", 25, 2000, 0.01)
    assert (config.noise_from_day, config.noise_severity) == (20, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 26}, "26 days of 2,000 images are 52,000, but cifar10 has 50,000"),
        ({"source": "digits"}, "but digits has 1,400"),
        ({"source": "folder"}, "evergreen step images ingest --folder DIR"),
        ({"source": "mnist"}, "source"),
        ({"days": 0}, "days"),
        ({"images_per_day": 0}, "images_per_day"),
        ({"known_fraction": 1.01}, "known_fraction"),
        ({"known_fraction": -0.1}, "known_fraction"),
        ({"gate_fraction": 0.5, "val_fraction": 0.5}, "nothing would be left to train on"),
        ({"source": "folder", "folder": "/x", "test_fraction": 0.9}, "nothing would be left to train on"),
        ({"noise_severity": 6}, "noise_severity"),
        ({"noise_from_day": -1}, "noise_from_day"),
        ({"image_size": 64}, "image_size must be 32"),
        ({"max_pixels": 10**9}, "max_pixels"),
        ({"first_day": "yesterday"}, "first_day"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_values_that_do_not_fit_are_named(changes, message):
    with pytest.raises(BadInputError, match=message) as refused:
        read(**changes)
    assert len(str(refused.value).splitlines()) <= 4


def test_identity_holds_what_shapes_a_day_and_nothing_else():
    base = read().identity(0)
    assert read(days=3).identity(0) == read(cifar_folder="/x").identity(0) == read(max_pixels=5).identity(0) == base
    shaping = [
        {"images_per_day": 10},
        {"known_fraction": 0.1},
        {"val_fraction": 0.2},
        {"gate_fraction": 0.1},
        {"noise_from_day": None},
        {"noise_severity": 1},
        {"first_day": "2026-01-02"},
    ]
    assert all(read(**change).identity(0) != base for change in shaping)
    assert read().identity(1) != base


def test_identity_of_own_images_is_their_folder_and_how_they_are_decoded():
    def identity(**changes):
        return read(**{"source": "folder", "folder": "/a", "folder_digest": "1"} | changes).identity(0)

    assert identity(folder_digest="2") == identity(first_day="2020-01-01") == identity(days=1) == identity()
    for change in ({"folder": "/b"}, {"image_size": 64}, {"max_pixels": 9}, {"test_fraction": 0.1}):
        assert identity(**change) != identity()
