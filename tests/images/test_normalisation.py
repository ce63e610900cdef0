import numpy as np
import pytest
import torch

from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.normalisation import MEASURED, measure_statistics, random_batches, recalibrate
from tests.images.random_images import Stack


def first_statistics(encoder):
    layer = next(module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d))
    return layer.running_mean.clone(), layer.running_var.clone()


def test_statistics_are_those_of_the_images_and_weights_stay(make_pictures):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=4))
    weights = {name: value.clone() for name, value in encoder.named_parameters()}
    images = Stack(make_pictures(64, 0))
    recalibrate(encoder, images, np.arange(32), "fp32", 0, batches=40, batch_size=64)
    seen = {}
    convolution = next(module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, inputs, output: seen.update(out=output))
    with torch.no_grad():
        encoder(images.take(np.arange(32)).permute(0, 3, 1, 2).float() / 255)
    mean, variance = first_statistics(encoder)
    assert torch.allclose(mean, seen["out"].mean(dim=(0, 2, 3)), atol=0.03)
    assert torch.allclose(variance, seen["out"].var(dim=(0, 2, 3)), rtol=0.1)
    assert all(torch.equal(value, weights[name]) for name, value in encoder.named_parameters())
    assert not encoder.training
    assert {m.momentum for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}


def test_the_statistics_of_one_batch_are_its_own():
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=4))
    batch = torch.rand(32, 3, 16, 16)
    expected = build_encoder(EncoderConfig(width=4))
    expected.load_state_dict(encoder.state_dict())
    for layer in expected.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        expected.train()(batch)
    measure_statistics(encoder, [batch], "fp32")
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[name], value, msg=name)


@pytest.mark.parametrize(
    ("count", "sizes"), [(7, [7]), (256, [256]), (700, [256, 256]), (MEASURED + 300, [256] * (MEASURED // 256))]
)
def test_measured_images_differ_and_batches_weigh_the_same(count, sizes):
    class Numbered:
        def __len__(self):
            return count

        def take(self, rows):
            return torch.from_numpy(rows).view(-1, 1, 1, 1).expand(-1, 2, 2, 3)

    batches = list(random_batches(Numbered(), torch.Generator().manual_seed(0), torch.device("cpu")))
    assert [len(batch) for batch in batches] == sizes
    seen = (torch.cat(batches)[:, 0, 0, 0] * 255).round()
    assert len(seen.unique()) == len(seen)


def test_only_the_norms_learn_and_dropout_keeps_still():
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=4))
    last = torch.nn.BatchNorm1d(encoder.features)
    encoder.body.extend([torch.nn.Dropout(0.9), last])
    batch = torch.rand(32, 3, 16, 16)
    measure_statistics(encoder, [batch, batch], "fp32")
    seen = []
    last.register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    with torch.no_grad():
        encoder(batch)
    # the layers before it answer with the batch's own variance now, a little off the one that was used while measuring
    assert torch.allclose(last.running_mean, seen[0].mean(dim=0), atol=0.02)
    assert (seen[0] != 0).float().mean() > 0.5
    assert not any(module.training for module in encoder.modules())


def test_no_batch_is_asked_for_without_batch_norm():
    encoder = build_encoder(EncoderConfig(width=4))
    encoder.body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    def never():
        raise AssertionError("asked")
        yield

    assert not measure_statistics(encoder, never(), "fp32").training


def test_same_seed_same_statistics(make_pictures):
    images = Stack(make_pictures(64, 0))

    def statistics(seed):
        torch.manual_seed(0)
        return first_statistics(recalibrate(build_encoder(EncoderConfig(width=4)), images, np.arange(64), "fp32", seed))

    assert torch.equal(statistics(1)[0], statistics(1)[0])
    assert not torch.equal(statistics(1)[0], statistics(2)[0])
