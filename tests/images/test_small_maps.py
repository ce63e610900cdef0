"""The convolution without padding, against torch's."""

import pytest
import torch
from torch.nn import functional

from evergreen.images.small_maps import Convolution3x3


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 2), (2, 1), (3, 3), (5, 2)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_answers_and_gradients_are_the_convolutions(size: tuple[int, int], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = Convolution3x3(5, 7).double().to(memory_format=layout)
    images = torch.randn(4, 5, *size, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    expected = functional.conv2d(images, layer.weight, padding=1)
    towards = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (images, layer.weight), towards)
    found = layer(images)
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad(found, (images, layer.weight), towards), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_is_that_of_the_surroundings() -> None:
    layer, images = Convolution3x3(3, 4), torch.randn(2, 3, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(images)
        assert found.dtype == functional.conv2d(images, layer.weight, padding=1).dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(images), atol=0.05, rtol=0.05)
    assert layer(images).dtype == torch.float32


def test_weights_are_stored_as_a_convolutions() -> None:
    torch.manual_seed(0)
    layer = Convolution3x3(3, 4)
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert layer.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(layer.weight, plain.weight)
