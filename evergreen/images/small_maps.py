"""A 3×3 convolution that multiplies no padding: on maps of 2×2 pixels more than half of its taps would meet zeros."""

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 2
"""Side of the maps on which every pixel of the output sees every pixel of the input."""


class Convolution3x3(nn.Conv2d):
    """``nn.Conv2d(…, 3, padding=1, bias=False)``, as one matrix product on maps of at most 2×2 pixels.

    There a 3×3 kernel is a dense layer from all pixels and channels to all pixels and channels; as such it costs 4/9 of
    the operations (1/9 on a single pixel), and twice as fast a backward pass on processors. The weights and their names
    are those of the convolution.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, O, H, W)."""
        count, channels, height, width = input.shape
        if max(height, width) > LARGEST or input.is_cuda:  # cards have convolutions that know what is padding
            return super().forward(input)
        rows = input.permute(0, 2, 3, 1).reshape(count, height * width * channels)  # free in channels-last layout
        found = functional.linear(rows, self._dense(height, width, input))
        return found.view(count, height, width, self.out_channels).permute(0, 3, 1, 2)

    def _dense(self, height: int, width: int, input: Tensor) -> Tensor:
        """The kernel as a matrix, (H·W·O, H·W·C): the tap from one pixel to another depends on where they are."""
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        y, x = y.flatten(), x.flatten()  # of the H·W pixels
        tap = 3 * (y[None] - y[:, None] + 1) + (x[None] - x[:, None] + 1)  # (to, from)
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        taps = self.weight.to(dtype).permute(2, 3, 0, 1).reshape(9, self.out_channels, self.in_channels)
        blocks = taps[tap]  # (to, from, O, C)
        pixels = height * width
        return blocks.permute(0, 2, 1, 3).reshape(pixels * self.out_channels, pixels * self.in_channels)
