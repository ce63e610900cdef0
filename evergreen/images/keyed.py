"""Random numbers by counter: as many as wanted for each sample, the same in every batch and on every device.

A generator gives its numbers in a row, so a sample's share would depend on who came before it. Here the n-th number of
a key is a hash of both, SplitMix64 (Steele, Lea and Flood 2014), on whole batches of keys at once.
"""

import hashlib
import math

import torch
from torch import Tensor


def signed(value: int) -> int:
    """An unsigned 64-bit number as the int64 of the same bits: torch multiplies those modulo 2⁶⁴."""
    return value - 2**64 if value >= 2**63 else value


GOLDEN = signed(0x9E3779B97F4A7C15)
FIRST = signed(0xBF58476D1CE4E5B9)
SECOND = signed(0x94D049BB133111EB)
BITS = 24  # of a uniform number: what a float32 holds
CHUNK = 1 << 18  # numbers hashed at a time, 2 MiB of them, so that they stay in the processor's cache


class Chance:
    """Random numbers for a batch of samples.

    Args:
        keys: (N,) int64, one a sample; whoever has the same key gets the same numbers.
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys

    @classmethod
    def of_draws(cls, draws: Tensor) -> "Chance":
        """Keys from rows of uniform numbers (N, D), float32 in [0, 1): every bit of a row counts."""
        keys = torch.zeros(len(draws), dtype=torch.int64, device=draws.device)
        for column in (draws * 2**BITS).long().unbind(dim=1):
            keys = mix(keys + GOLDEN + column)
        return cls(keys)

    def named(self, name: str) -> "Chance":
        """Numbers of their own for one purpose, independent of those for other names."""
        purpose = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        return Chance(mix(self.keys ^ signed(purpose)))

    def uniform(self, count: int) -> Tensor:
        """(N, count) float32 in [0, 1), multiples of 2⁻²⁴."""
        return self._fractions(count, pieces=1)[0]

    def normal(self, count: int) -> Tensor:
        """(N, count) float32 from the standard normal distribution (Box and Muller 1958), within ±5.8."""
        first, second = self._fractions((count + 1) // 2, pieces=2)
        radius = first.neg_().add_(1).log_().mul_(-2).sqrt_()  # 1 − u is never 0
        angle = second.mul_(2 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]

    def _fractions(self, count: int, pieces: int) -> Tensor:
        """(pieces, N, count): each counter's hash, cut into pieces of 24 bits from the top."""
        out = torch.empty((pieces, len(self.keys), count), dtype=torch.float32, device=self.keys.device)
        steps = torch.arange(1, count + 1, device=self.keys.device) * GOLDEN
        rows = max(1, CHUNK // max(1, count))
        for start in range(0, len(self.keys), rows):
            hashed = mix(self.keys[start : start + rows, None] + steps)
            for piece in range(pieces):
                bits = shift(hashed, 64 - BITS * (piece + 1)) & (2**BITS - 1)
                out[piece, start : start + rows] = bits * 2.0**-BITS
        return out


def mix(values: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64: each bit of the input turns over about half of the output's."""
    values = (values ^ shift(values, 30)).mul_(FIRST)
    values.bitwise_xor_(shift(values, 27)).mul_(SECOND)
    return values.bitwise_xor_(shift(values, 31))


def shift(values: Tensor, bits: int) -> Tensor:
    """Shift int64 right by ``bits`` > 0, filling with zeros as unsigned numbers do."""
    return (values >> bits).bitwise_and_(2 ** (64 - bits) - 1)
