import copy

import numpy as np
import pytest
import torch

from evergreen.images.continued import ContinuedConfig, continue_pretraining, distillation_loss, draw_rows
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.simclr import SimCLRConfig
from evergreen.progress import Silent
from tests.images.random_images import Stack

RECIPE = SimCLRConfig(encoder=EncoderConfig(width=4), epochs=1, head_hidden=16, head_output=8)
CONFIG = ContinuedConfig(steps=6, batch_size=16, view_size=8, head_steps=1)


@pytest.fixture
def images(make_pictures):
    return Stack(np.concatenate([make_pictures(40, 0), make_pictures(40, 1, noise=40.0)]))


def go_on(images, config=CONFIG, seed=0, old=40):
    torch.manual_seed(1)
    encoder = build_encoder(RECIPE.encoder)
    batch = images.take(np.arange(len(images))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        for _ in range(30):  # batch norm gets to know the images
            encoder.train()(batch)
    past = copy.deepcopy(encoder)
    rows = np.arange(len(images))
    out = continue_pretraining(
        copy.deepcopy(encoder), images, rows[:old], rows[40:], config, RECIPE, seed, "fp32", Silent(), past
    )
    return past, out


def weights(encoder):
    return torch.cat([p.detach().flatten() for p in encoder.parameters()])


def test_distillation_is_the_mean_cosine_distance():
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    by_hand = sum(1 - float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)) / 5
    assert float(distillation_loss(a, b)) == pytest.approx(by_hand, abs=1e-6)
    assert float(distillation_loss(a, 3 * a)) == pytest.approx(0, abs=1e-6)


def test_same_seed_same_weights_and_the_old_encoder_is_left_alone(images):
    past, first = go_on(images)
    before = weights(past).clone()
    _, second = go_on(images)
    assert torch.equal(weights(first), weights(second))
    assert torch.equal(weights(past), before)
    assert not torch.equal(weights(first), before)
    assert not torch.equal(weights(go_on(images, seed=3)[1]), weights(first))


def test_distillation_keeps_old_features_closer(images):
    def moved(weight):
        past, now = go_on(images, CONFIG.model_copy(update={"distillation": weight, "steps": 30}))
        batch = images.take(np.arange(40)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return float(distillation_loss(now(batch), past.eval()(batch)))

    assert moved(3.0) < moved(0.0)


def test_only_the_new_head_learns_at_first(images):
    past, now = go_on(images, CONFIG.model_copy(update={"steps": 5, "head_steps": 5}))
    assert torch.equal(weights(past), weights(now))


def test_without_old_images_all_are_new(images):
    _, out = go_on(images, old=0)
    assert torch.isfinite(weights(out)).all()


def test_draws_repeat_only_where_there_are_too_few():
    rng = np.random.default_rng(0)
    assert len(set(draw_rows(rng, np.arange(10), 10).tolist())) == 10
    assert len(draw_rows(rng, np.arange(3), 10)) == 10
    assert len(draw_rows(rng, np.arange(3), 0)) == 0
