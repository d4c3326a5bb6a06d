"""axolotl: `train/` and `held_out_NAME/`, tables that it takes as they are (`skip_prepare_dataset`).

With `document_masking`, a block has positions that begin again with each document, and `sample_packing` lets them stay.
Attention keeps documents apart by the positions, if there is no `attention_mask`: so the tables have none.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from trainers.packing import arrow
from trainers.packing.blocks import LaunchBlocks, Rows
from trainers.packing.writer import Written

HELD_OUT = "held_out_{}"


def write(blocks: LaunchBlocks, folder: Path, written: Written) -> None:
    arrow.write_launch(blocks, folder, HELD_OUT, partial(_columns, blocks), written)


def size(blocks: LaunchBlocks) -> float:
    """8 bytes a token, or with its position 12."""
    held_out = sum(len(rows) for rows in blocks.held_out.values())
    return (12 if blocks.document_masking else 8) * (blocks.sequence_length + 2) * (blocks.rows + held_out)


def _columns(blocks: LaunchBlocks, rows: Rows) -> arrow.Columns:
    tokens = rows.astype(np.int32)
    if not blocks.document_masking:
        return {"input_ids": tokens, "labels": tokens}
    positions, labels = arrow.documents_apart(rows, blocks.starts(rows))
    lengths = np.full(len(rows), rows.shape[1], np.int32)
    return {"input_ids": tokens, "labels": labels, "position_ids": positions, "length": lengths}
