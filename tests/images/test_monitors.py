"""Monitors against their definitions, and the stop on collapse."""

import math

import numpy as np
import pytest
import torch

from evergreen.errors import StoppedError
from evergreen.images.monitors import CollapseConfig, CollapseWatch, check_gates, feature_std, knn_accuracy, rankme


def gaussian(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_rankme_of_equal_singular_values_is_their_number(rank: int) -> None:
    basis = torch.linalg.qr(gaussian(8, 5))[0][:, :rank]  # orthonormal columns
    assert rankme(3 * basis @ torch.eye(rank, 6)).item() == pytest.approx(rank, rel=1e-4)


def test_rankme_by_its_formula() -> None:
    z = gaussian(20, 6)
    share = np.linalg.svd(z.numpy(), compute_uv=False)
    share = share / share.sum()
    assert rankme(z).item() == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-4)


def test_feature_std_is_one_when_even_and_zero_when_collapsed() -> None:
    assert feature_std(gaussian(20_000, 16)).item() == pytest.approx(1, abs=0.02)
    assert feature_std(torch.ones(8, 16) * torch.arange(1, 9).unsqueeze(1)).item() == pytest.approx(0, abs=1e-6)


def test_knn_leaves_the_asked_one_out() -> None:
    features, labels = gaussian(30, 3), torch.randint(0, 3, (30,), generator=torch.Generator().manual_seed(1))
    unit = features / features.norm(dim=1, keepdim=True)
    right = 0
    for i in range(30):
        others = sorted((k for k in range(30) if k != i), key=lambda k: -float(unit[i] @ unit[k]))[:4]
        votes = [0.0, 0.0, 0.0]
        for k in others:
            votes[int(labels[k])] += math.exp(float(unit[i] @ unit[k]) / 0.1)
        right += int(np.argmax(votes)) == int(labels[i])
    assert knn_accuracy(features, labels, neighbours=4) == pytest.approx(right / 30)


def test_knn_asks_no_more_neighbours_than_there_are() -> None:
    assert knn_accuracy(torch.eye(2), torch.tensor([0, 1])) == 0.0
    assert knn_accuracy(torch.ones(2, 3), torch.tensor([1, 1])) == 1.0


CONFIG = CollapseConfig(patience=3)
FINE = gaussian(16, 8)
POINT = torch.ones(16, 8)
LINE = torch.ones(16, 8) * torch.tensor([1.0, -1.0]).repeat(8).unsqueeze(1)


@pytest.mark.parametrize(
    ("z", "loss", "words"), [(POINT, 1.0, "feature_std"), (LINE, 1.0, "rankme"), (FINE, math.log(15), "loss")]
)
def test_a_sign_that_stays_stops_the_run(z: torch.Tensor, loss: float, words: str) -> None:
    watch = CollapseWatch(CONFIG)
    for _ in range(2):
        watch.look(loss, z, math.log(15), "epoch 1, step 1")
    with pytest.raises(StoppedError, match=rf"collapsed in epoch 2, step 7: {words} .* 3 times in a row"):
        watch.look(loss, z, math.log(15), "epoch 2, step 7")


def test_a_sign_that_goes_away_starts_again_and_a_resumed_watch_goes_on() -> None:
    watch = CollapseWatch(CONFIG)
    for z in (POINT, POINT, FINE, POINT, POINT):
        watch.look(1.0, z, None, "here")
    with pytest.raises(StoppedError):
        CollapseWatch(CONFIG, watch.counts).look(1.0, POINT, None, "here")


def test_a_healthy_run_is_left_alone() -> None:
    watch = CollapseWatch(CollapseConfig(patience=1))
    watch.look(math.log(15) - 0.01, FINE, math.log(15), "here")
    assert watch.counts == {"feature_std": 0, "rankme": 0, "loss": 0}  # it looked for every sign


RECORD = {"loss": 4.0, "rankme": 12.0}


def test_gates_let_pass_what_is_on_the_right_side() -> None:
    check_gates({"loss": 4.0, "rankme": 12.0}, RECORD)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"loss": 3.9}, "loss is 4, expected at most 3.9"),
        ({"rankme": 13}, "rankme is 12, expected at least 13"),
        ({"knn_accuracy": 0.5}, "was not measured"),
    ],
)
def test_gates_stop_the_rest(gate: dict, words: str) -> None:
    with pytest.raises(StoppedError, match=words):
        check_gates(gate, RECORD)
