"""torchtitan: the blocks as rows of uint32 in plain files, which `numpy.memmap` opens, `train.bin` in the run's order.

The shape of the rows, the ids at borders and the names of the held-out sets are in `blocks.json`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainers.packing.blocks import LaunchBlocks, Rows
from trainers.packing.writer import Written

TRAIN, HELD_OUT = "train.bin", "held_out_{}.bin"
TOKEN = np.dtype("<u4")


def write(blocks: LaunchBlocks, folder: Path, written: Written) -> None:
    for name, rows in blocks.held_out.items():
        (folder / HELD_OUT.format(name)).write_bytes(_bytes(rows))
    with (folder / TRAIN).open("wb") as file:
        for rows in blocks.train():
            file.write(_bytes(rows))
            written(len(rows))


def size(blocks: LaunchBlocks) -> float:
    """4 bytes a token."""
    held_out = sum(len(rows) for rows in blocks.held_out.values())
    return TOKEN.itemsize * blocks.sequence_length * (blocks.rows + held_out)


def _bytes(rows: Rows) -> bytes:
    return rows.astype(TOKEN).tobytes()
