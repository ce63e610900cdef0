"""Learning-rate schedules as plain functions of the step."""

import math


def warmup_cosine(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine down to nearly zero (Loshchilov and Hutter 2017).

    Args:
        step: 0-based.
        steps: how many there are in all.
        peak: the highest rate.
        warmup: steps of the warm-up.

    >>> [round(warmup_cosine(s, 6, 1.0, 2), 3) for s in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
