"""Which number format a device computes fastest in, and the context that applies it."""

from contextlib import AbstractContextManager
from typing import Literal

import torch
import torch.utils.deterministic
from torch import nn

Precision = Literal["auto", "fp32", "bf16"]
Resolved = Literal["fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Resolved:
    """Turn ``auto`` into the faster format of the device.

    bf16 where the hardware multiplies it: CUDA cards from compute capability 8, processors with AMX or AVX512-BF16.
    Elsewhere it is emulated and slower than fp32.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if {"amx_bf16", "avx512_bf16"} & set(cpu_capabilities()) else "fp32"


def cpu_capabilities() -> list[str]:
    """The processor's units that matter here, sorted: avx2, avx512, avx512_bf16, amx_bf16."""
    probes = {
        "avx2": torch.cpu._is_avx2_supported,
        "avx512": torch.cpu._is_avx512_supported,
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported,
        "amx_bf16": torch.cpu._is_amx_tile_supported,
    }
    return sorted(name for name, probe in probes.items() if probe())


def autocast(precision: Resolved, device: torch.device) -> AbstractContextManager[None]:
    """The context in which a model's forward pass runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def channels_last(module: nn.Module) -> nn.Module:
    """Lay convolution weights out with the channels last: on processors bf16 gains from it only so."""
    return module.to(memory_format=torch.channels_last)


def set_threads(threads: int) -> None:
    """Make a computation repeatable on machines of one kind: fixed thread count, deterministic algorithms.

    CUDA needs CUBLAS_WORKSPACE_CONFIG for that, so it is set before the first use.
    """
    import os

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler: seconds
    # else every output is written twice, the first time with NaN
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def best_device() -> torch.device:
    """The first CUDA card if there is one, else the processor."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
