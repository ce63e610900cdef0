"""Learning-rate schedules as plain functions of the step."""

import math
from typing import Literal

Scaling = Literal["none", "linear", "sqrt"]
REFERENCE_BATCH = 256


def scaled_rate(rate: float, scaling: Scaling, batch: int) -> float:
    """The learning rate for a batch size, from that for a batch of 256 (Chen et al. 2020, sections 2.2 and B.1).

    The paper's 0.3·B/256 is ``rate`` 0.3 scaled ``linear``, its 0.075·√B is ``rate`` 1.2 scaled ``sqrt``.

    >>> [scaled_rate(0.3, scaling, 1024) for scaling in ("none", "linear", "sqrt")]
    [0.3, 1.2, 0.6]
    """
    if scaling == "none":
        return rate
    ratio = batch / REFERENCE_BATCH
    return rate * (ratio if scaling == "linear" else math.sqrt(ratio))


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
