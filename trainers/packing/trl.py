"""TRL: `train/` and `held_out_NAME/`, tables of rows with labels and positions, and `model/`, links to the base model.

A row's first token has no label, as nothing predicts it: so labels are counted alike before and after they are shifted.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from trainers.data.conversations import rows as conversations
from trainers.packing import arrow
from trainers.packing.blocks import LaunchBlocks, Rows
from trainers.packing.writer import Written

HELD_OUT, MODEL = "held_out_{}", "model"


def write(blocks: LaunchBlocks, folder: Path, written: Written) -> None:
    arrow.write_launch(blocks, folder, HELD_OUT, partial(_columns, blocks), written)
    blocks.link_model(folder / MODEL)


def size(blocks: LaunchBlocks) -> float:
    """12 bytes a token."""
    held_out = sum(len(rows) for rows in blocks.held_out.values())
    return 12 * (blocks.sequence_length + 1) * (blocks.rows + held_out)


def _columns(blocks: LaunchBlocks, rows: Rows) -> arrow.Columns:
    """`position_ids` begin again with each document where documents are kept apart."""
    labels, tokens = blocks.labels(rows), conversations.ids(rows)
    apart, _ = arrow.documents_apart(tokens, blocks.starts(rows))
    whole = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    positions = apart if blocks.document_masking else np.ascontiguousarray(whole)
    return {"input_ids": np.ascontiguousarray(tokens.astype(np.int32)), "labels": labels, "position_ids": positions}
