"""Token ids as an indexed dataset of Megatron core: PREFIX.bin has the ids, PREFIX.idx the length of each document.

The layout of both files: core/datasets/indexed_dataset.py in core 0.16.1 (_IndexWriter).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEADER, VERSION, INT32 = b"MMIDIDX\x00\x00", 1, 4  # the code of the ids' type
TOKEN = np.dtype("<i4")
Piece = tuple[NDArray[np.integer], NDArray[np.bool_]]  # token ids, and which of them begin a document


def write(prefix: Path, pieces: Iterable[Piece]) -> None:
    """Write a stream of tokens. Its first token begins a document, whatever is said of it."""
    starts, total = [np.zeros(1, np.int64)], 0
    with Path(f"{prefix}.bin").open("wb") as file:
        for tokens, begin in pieces:
            file.write(tokens.astype(TOKEN).tobytes())
            starts.append(np.flatnonzero(begin) + total)
            total += len(tokens)
    _write_index(Path(f"{prefix}.idx"), np.unique(np.concatenate(starts)), total)


def _write_index(path: Path, starts: NDArray[np.int64], total: int) -> None:
    """`starts`: the number of the first token of each document, out of `total`."""
    lengths = np.diff(starts, append=total).astype("<i4")
    with path.open("wb") as file:
        file.write(HEADER + struct.pack("<QBQQ", VERSION, INT32, len(lengths), len(lengths) + 1))
        file.write(lengths.tobytes())
        file.write((starts * TOKEN.itemsize).astype("<i8").tobytes())
        file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())  # each document is one sequence
