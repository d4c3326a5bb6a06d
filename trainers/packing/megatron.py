"""Megatron-LM: an indexed dataset of each source and held-out set, and the model as arguments, weights and tokenizer.

A source's documents are what stands between its borders, in its packed order; core shuffles them, cuts its own blocks
of one token more, and shuffles these. A held-out set is one document, so that its blocks stay those of the trials.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sweep.study.sizes.megatron_model import architecture
from trainers.data.corpus import PackedCorpus
from trainers.data.corpus import blocks as read_blocks
from trainers.packing import megatron_index, megatron_weights, to_huggingface
from trainers.packing.blocks import LaunchBlocks, Rows
from trainers.packing.megatron_index import TOKEN, Piece
from trainers.packing.writer import Written

TRAIN, HELD_OUT = "train_{}", "held_out_{}"
ARGUMENTS, BASE, BACK = "model_args.txt", "base", "to_huggingface.py"
MODEL = "model"  # the model's configuration and tokenizer
AT_ONCE = 1024  # blocks
FILLER = -2  # no token, and not -1, which Megatron takes for padding where a tokenizer has none


def write(blocks: LaunchBlocks, folder: Path, written: Written) -> None:
    config = json.loads((blocks.model / "config.json").read_text(encoding="utf-8"))
    given = [part for argument in architecture(config, blocks.sequence_length) for part in argument]
    (folder / ARGUMENTS).write_text("\n".join(given) + "\n", encoding="utf-8")
    megatron_weights.to_megatron(blocks.model, folder / BASE)
    blocks.tokenizer.tokenizer.save_pretrained(folder / MODEL)
    for name in ("config.json", "generation_config.json"):
        if (blocks.model / name).is_file():
            shutil.copyfile(blocks.model / name, folder / MODEL / name)
    shutil.copyfile(to_huggingface.__file__, folder / BACK)
    batch = blocks.study.training.batch_sequences
    for name, rows in blocks.held_out.items():
        megatron_index.write(folder / HELD_OUT.format(name), [_one_document(rows, batch)])
    for name, rows_read in blocks.mixture.drawn(blocks.rows).items():
        if rows_read:
            megatron_index.write(folder / TRAIN.format(name), _documents(blocks, blocks.corpora[name]))
            written(rows_read)


def size(blocks: LaunchBlocks) -> float:
    """4 bytes a token, and the weights once more."""
    rows = sum(len(corpus.training) for corpus in blocks.corpora.values())
    rows += sum(len(held_out) + blocks.study.training.batch_sequences for held_out in blocks.held_out.values())
    weights = sum(path.stat().st_size for path in blocks.model.glob("*.safetensors"))
    return TOKEN.itemsize * blocks.sequence_length * rows + weights


def _one_document(rows: Rows, batch: int) -> Piece:
    """Whole batches, the last one filled up with rows of `FILLER`, which pretrain.py leaves out of the loss.

    There is one token more than the blocks have: each block's last target is the first token of the next.
    """
    filler = np.full((-len(rows) % batch * rows.shape[1] + 1,), FILLER, np.int64)
    stream = np.concatenate([rows.reshape(-1).astype(np.int64), filler])
    return stream, np.zeros(len(stream), bool)


def _documents(blocks: LaunchBlocks, corpus: PackedCorpus) -> Iterator[Piece]:
    """The corpus in its packed order. Without borders, each block counts as a document."""
    last = None
    for first in range(0, len(corpus.training), AT_ONCE):
        rows = read_blocks(corpus.training, range(first, min(first + AT_ONCE, len(corpus.training))))
        stream, starts = rows.reshape(-1), np.zeros(rows.size, bool)
        if not blocks.borders.ids:
            starts[:: blocks.sequence_length] = True
        else:
            before = stream[:1] if last is None else last
            starts[:] = blocks.borders.starts(np.append(before, stream)[None])[0]
        yield stream, starts
        last = stream[-1:]
