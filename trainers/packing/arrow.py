"""Tables of blocks in folders that `datasets.load_from_disk` opens without a copy. Memory holds a global batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweep.study.files.atomic import write_atomically
from trainers.packing.blocks import NO_TARGET, LaunchBlocks, Rows
from trainers.packing.writer import Written

SHARD = 2_000_000_000  # bytes of a file, about
TRAIN = "train"  # folder of the blocks to train on
Columns = dict[str, NDArray[Any]]  # integers, each (rows, length) or (rows,)


def write_launch(
    blocks: LaunchBlocks, folder: Path, held_out: str, columns: Callable[[Rows], Columns], written: Written
) -> None:
    """Write the blocks of a launch: those to train on, and each held-out set in a folder that `held_out` is formatted
    to with its name.
    """

    def told() -> Iterator[Rows]:
        for rows in blocks.train():
            yield rows
            written(len(rows))

    for name, rows in blocks.held_out.items():
        write(folder / held_out.format(name), [rows], columns)
    write(folder / TRAIN, told(), columns)


def write(folder: Path, parts: Iterable[Rows], columns: Callable[[Rows], Columns]) -> None:
    """Write the blocks of `parts`, one after another, with `columns` made of each part."""
    datasets.disable_progress_bars()  # the writer's caller shows the progress
    shards, size = 0, SHARD
    writer: pa.RecordBatchStreamWriter | None = None
    for rows in parts:
        table = _table(columns(rows))
        if writer is None:
            datasets.Dataset(table).save_to_disk(str(folder))
            next(folder.glob("*.arrow")).unlink()
        if writer is None or size >= SHARD:
            if writer is not None:
                writer.close()
            writer = pa.ipc.new_stream(str(folder / _name(shards)), table.schema)
            shards, size = shards + 1, 0
        writer.write_table(table)
        size += table.nbytes
    if writer is not None:
        writer.close()
        _list_shards(folder, shards)


def documents_apart(rows: Rows, starts: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Positions that begin again with each document, and labels: the tokens, but none for the first of a document."""
    index = np.arange(rows.shape[1], dtype=np.int32)
    positions = index - np.maximum.accumulate(np.where(starts, index, 0), axis=1)
    return positions.astype(np.int32), np.where(starts, NO_TARGET, rows.astype(np.int32)).astype(np.int32)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    if values.ndim == 1:
        return flat
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _name(shard: int) -> str:
    return f"data-{shard:05}.arrow"


def _list_shards(folder: Path, shards: int) -> None:
    state = folder / "state.json"
    content = json.loads(state.read_text()) | {"_data_files": [{"filename": _name(i)} for i in range(shards)]}
    write_atomically(state, json.dumps(content, indent=2))
