"""Keep the memory that one training step frees for the next one."""

import ctypes

M_TRIM_THRESHOLD = -1  # glibc, malloc.h
M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc not to hand freed blocks back to the system, for as long as this process lives.

    By default every large tensor is mapped anew and its pages are zeroed by the kernel at first touch: for the
    activations of a training step hundreds of thousands of page faults. No result depends on it. The price is that the
    process stays as large as it ever was.

    Returns:
        Whether it took effect; elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
