"""Importing torch, transformers and the like, which takes seconds of a process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Pause Python's garbage collection, of the whole process, while the block imports.

    Of what an import makes nothing is garbage, and the collector looks at all of it again whenever it has grown by a
    quarter: a quarter of the processor time. Where blocks of two threads overlap, the first that ends ends the pause.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # later collections look at later objects alone
        gc.enable()
