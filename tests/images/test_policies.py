"""One contract for all policies, on images whose class is how bright they are, and a stream that turns blue."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from evergreen.images.arrays import write_folder
from evergreen.images.bundle import Classifier
from evergreen.images.continued import ContinuedConfig
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.imageset import ImageSet
from evergreen.images.policies import POLICIES, Material, PolicyConfig
from evergreen.images.simclr import SimCLRConfig

SIZE = 16
TRAINING = PolicyConfig(
    recipe=FinetuneConfig(steps=8, labelled_batch=16, unlabelled_batch=16, view_size=SIZE, average_decay=0.5),
    continued=ContinuedConfig(steps=3, batch_size=16, view_size=SIZE, head_steps=1),
)
PRETRAINING = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=1, batch_size=32, view_sizes=(SIZE,), head_hidden=16, head_output=8
)


def coloured(labels, blue, seed):
    rng = np.random.default_rng(seed)
    level = np.array([{"dark": 60, "bright": 180, "green": 120}[label] for label in labels])
    images = rng.normal(level[:, None, None, None], 25, (len(labels), SIZE, SIZE, 3))
    images[..., 2] += np.where(blue, 60, 0)[:, None, None]
    images[..., 1] += np.where(np.array(labels) == "green", 100, 0)[:, None, None]
    return np.clip(images, 0, 255).astype(np.uint8)


def material(folder, new_classes=("dark", "bright"), known_new=20):
    """120 old images and 60 new ones; 40 and ``known_new`` of them have a label."""
    rng = np.random.default_rng(0)
    labels = [*rng.choice(["dark", "bright"], 120), *rng.choice(list(new_classes), 60)]
    new = np.arange(180) >= 120
    known = (np.arange(180) < 40) | (new & (np.arange(180) < 120 + known_new))
    index = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(180)],
            "arrived_at": pd.date_range("2026-01-01", periods=180, freq="min", tz="UTC").as_unit("us"),
            "label": pd.Series([label if k else None for label, k in zip(labels, known, strict=True)], dtype=object),
            "split": "train",
            "sha256": [f"{n:064x}" for n in range(180)],
        }
    )
    write_folder(folder, coloured(labels, new, 1), index)
    torch.manual_seed(0)
    encoder = build_encoder(PRETRAINING.encoder).eval()
    head = nn.Linear(encoder.features, 2).eval()
    champion = Classifier(encoder, head, PRETRAINING.encoder, ["bright", "dark"], SIZE, "fp32")
    return Material(champion, ImageSet([folder]), new, TRAINING, PRETRAINING, 0)


def state(classifier):
    tensors = {**classifier.encoder.state_dict(), **{f"head.{k}": v for k, v in classifier.head.state_dict().items()}}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(params=sorted(POLICIES))
def policy(request):
    return POLICIES[request.param]


def test_champion_is_left_alone_and_the_same_inputs_give_the_same_model(policy, tmp_path):
    given = material(tmp_path / "w")
    before = state(given.champion)
    first, flops = policy(given)
    assert same(state(given.champion), before)
    second, again = policy(given)
    assert same(state(first), state(second))
    assert flops == again


def test_challenger_answers_with_the_champions_classes(policy, tmp_path):
    challenger, _ = policy(material(tmp_path / "w"))
    images = coloured(["dark", "bright"], np.array([True, True]), 3)
    probabilities = challenger.predict_probabilities(images)
    assert challenger.classes == ["bright", "dark"]
    assert probabilities.shape == (2, 2)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_only_none_costs_nothing_and_returns_the_champion(policy, tmp_path):
    given = material(tmp_path / "w")
    challenger, flops = policy(given)
    assert (flops == 0) == (policy is POLICIES["none"])
    assert (challenger is given.champion) == (policy is POLICIES["none"])


def test_class_with_enough_labels_is_learned_and_one_with_few_is_not(policy, tmp_path):
    given = material(tmp_path / "w", new_classes=("dark", "green"))
    challenger, _ = policy(given)
    if policy is not POLICIES["none"]:
        assert challenger.classes == ["bright", "dark", "green"]
    few = material(tmp_path / "few", new_classes=("dark", "green"), known_new=4)
    assert policy(few)[0].classes == ["bright", "dark"]


def test_works_without_a_label_of_the_new_regime(policy, tmp_path):
    challenger, _ = policy(material(tmp_path / "w", known_new=0))
    assert challenger.classes == ["bright", "dark"]


def test_head_leaves_the_encoders_weights_and_learns_the_labels(tmp_path):
    given = material(tmp_path / "w")
    challenger, _ = POLICIES["head"](given)
    assert same(dict(challenger.encoder.named_parameters()), dict(given.champion.encoder.named_parameters()))
    labels = ["dark", "bright"] * 20
    said = challenger.predict_probabilities(coloured(labels, np.full(40, True), 5)).argmax(axis=1)
    assert np.mean(np.array(challenger.classes)[said] == labels) > 0.9


def test_costs_are_ordered_as_the_work_is(tmp_path):
    given = material(tmp_path / "w")
    recipe = given.config.recipe.model_copy(update={"steps": 30})  # more than the statistics alone cost
    given = dataclasses.replace(given, config=given.config.model_copy(update={"recipe": recipe}))
    cost = {name: POLICIES[name](given)[1] for name in POLICIES}
    assert cost["none"] < cost["head"] < cost["finetune"] < cost["replay"]
    longer = dataclasses.replace(given, pretraining=PRETRAINING.model_copy(update={"epochs": 2}))
    assert POLICIES["retrain"](longer)[1] > cost["retrain"] > 0
