"""Where in a sequence did the mean change?"""

import numpy as np
from numpy.typing import NDArray


def mean_change_point(values: NDArray[np.floating]) -> int:
    """The most likely position of one change of the mean, for noise of equal spread on both sides.

    The least-squares estimate (Hinkley 1970; Bai 1994, Least squares estimation of a shift in linear processes): the k
    that maximises k (n − k) / n · (mean of the first k − mean of the rest)².

    Args:
        values: (n,), in order, n at least 2.

    Returns:
        Position of the first value after the change, 1 to n − 1.

    >>> mean_change_point(np.array([0.0, 0.1, 0.0, 5.0, 5.1]))
    3
    """
    n = len(values)
    k = np.arange(1, n)
    sums = np.cumsum(values, dtype=np.float64)
    first = sums[:-1] / k
    rest = (sums[-1] - sums[:-1]) / (n - k)
    return int(np.argmax(k * (n - k) / n * np.square(first - rest))) + 1
