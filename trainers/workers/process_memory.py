"""What the C library of a worker's process does with memory that is freed. Where it is not glibc, nothing changes."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

MIB = 2**20
# Of glibc's malloc, by the numbers in its malloc.h: the free memory that is kept at the end of a heap, by how
# much it grows a heap, and the size from which on a block is a mapping of its own, as the tensors of larger models are.
KEPT_BYTES = {-1: 512 * MIB, -2: 64 * MIB, -3: 32 * MIB}


def keep_freed() -> None:
    """Keep what a training step frees, up to half a GiB, for the next step.

    Otherwise it is given back to the kernel after every operation and got back page by page, which takes 15 % of the
    processor time of a small model's step.
    """
    if mallopt := _of_library("mallopt"):
        for parameter, size in KEPT_BYTES.items():
            mallopt(parameter, size)


def give_back() -> None:
    """Give the kernel back what a trial leaves. Its model refers to itself, and would stay while the next trials of
    this process run; they run in other threads, which may have other heaps.
    """
    gc.collect()
    if trim := _of_library("malloc_trim"):
        trim(0)


def _of_library(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
