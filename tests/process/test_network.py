"""The network: it grows without forgetting, looks at nothing later, and contrastive learning is what the paper says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evergreen.process.cpc import STEPS, Foresight
from evergreen.process.network import Network, NetworkConfig, loss
from evergreen.process.prefixes import FEATURES, Window

BODIES = ("gru", "lstm", "transformer")


def window(seed: int = 0, count: int = 20, classes: int = 5) -> Window:
    random = np.random.default_rng(seed)
    activity = random.integers(0, classes, (count, 16)).astype(np.int32)
    length = random.integers(1, 17, count)
    absent = np.arange(16) < 16 - length[:, None]
    activity[absent] = -1
    resource = np.where(absent, -1, random.integers(-1, 300, (count, 16))).astype(np.int32)
    numbers = np.where(absent[..., None], 0, random.random((count, 16, len(FEATURES)))).astype(np.float32)
    return Window(activity, resource, numbers)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("embedding", ["learned", "word2vec", "onehot"])
def test_growing_keeps_what_was_said_of_the_activities_known_before(body: str, embedding: str) -> None:
    network = Network(NetworkConfig.read({"body": body, "embedding": embedding}, "test"), 5, 0)
    given = window()
    with torch.no_grad():
        before = network(network.inputs(given))
        network.grow(9)
        after = network(network.inputs(given))
    torch.testing.assert_close(after.following[:, :5], before.following)
    torch.testing.assert_close(after.outcome[:, :5], before.outcome)
    torch.testing.assert_close(after.remaining, before.remaining)
    assert after.following.shape == (20, 9)
    assert network.activity.weight.requires_grad == (embedding == "learned")


@pytest.mark.parametrize("body", BODIES)
def test_states_do_not_depend_on_later_events(body: str) -> None:
    network = Network(NetworkConfig.read({"body": body}, "test"), 5, 0)
    given = window()
    changed = replace(given, activity=given.activity.copy())
    changed.activity[:, -3:] = 0
    with torch.no_grad():
        first, _ = network.states(network.inputs(given))
        second, _ = network.states(network.inputs(changed))
    torch.testing.assert_close(first[:, :-3], second[:, :-3])
    assert not torch.allclose(first[:, -1], second[:, -1])


@pytest.mark.parametrize("body", BODIES)
def test_it_learns_to_copy_the_last_activity(body: str) -> None:
    network = Network(NetworkConfig.read({"body": body}, "test"), 5, 0)
    given = window(count=256)
    labels = torch.from_numpy(given.activity[:, -1].astype(np.int64))
    optimiser = torch.optim.AdamW(network.trained(), lr=1e-2)
    unknown = torch.full((256,), float("nan")), torch.full((256,), -1)
    for _ in range(40):
        value = loss(network(network.inputs(given)), labels, *unknown)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert float((network(network.inputs(given)).following.argmax(1) == labels).float().mean()) > 0.95


def test_the_loss_counts_only_what_is_known() -> None:
    network = Network(NetworkConfig(), 3, 0)
    heads = network(network.inputs(window(count=2, classes=3)))
    following, days = torch.tensor([0, 2]), torch.tensor([float("nan"), 4.0])
    value = loss(heads, following, days, torch.tensor([1, -1]))
    logs = torch.log_softmax(heads.following, 1)
    expected = -(logs[0, 0] + logs[1, 2]) / 2
    expected = expected + 0.3 * (heads.remaining[1] - np.log(5.0)).abs()
    expected = expected - 0.3 * torch.log_softmax(heads.outcome, 1)[0, 1]
    torch.testing.assert_close(value, expected)


def test_contrastive_loss_is_the_double_loop_of_the_paper() -> None:
    network = Network(NetworkConfig(window=5), 5, 0)
    inputs = network.inputs(window(count=30))
    foresight = Foresight(network, 1)
    states, embedded = network.states(inputs)
    means = []
    for distance in range(1, STEPS + 1):
        for place in range(5 - distance):
            rows = [row for row in range(30) if inputs.activity[row, place] > 0]
            if len(rows) < 8:
                continue
            losses = []
            for row in rows:
                foreseen = foresight.maps[distance - 1](states[row, place])
                scores = {other: foreseen @ embedded[other, place + distance] for other in rows}
                own = inputs.activity[row, place + distance]
                against = [r for r in rows if r == row or inputs.activity[r, place + distance] != own]
                losses.append(torch.logsumexp(torch.stack([scores[r] for r in against]), 0) - scores[row])
            means.append(torch.stack(losses).mean())
    torch.testing.assert_close(foresight.loss(network, inputs), torch.stack(means).mean())
