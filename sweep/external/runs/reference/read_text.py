"""Whether a trainer's packed text is the text of the trial: which source each global batch reads, and what differs.

    python -m sweep.external.runs.reference.read_text STUDY INGREDIENTS NAME DATA STREAMS

DATA is the packed text of the trainer NAME. STREAMS, a JSON object, has the file of each source's tokens where the
trainer draws its rows itself; else it is empty, and the rows of DATA must be the trial's, in its order. Prints one line
of JSON, of `TextRead`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from sweep.external.runs.trace import TextRead
from sweep.study import Study, study_file
from sweep.study.ingredients import read_ingredients
from trainers.data.conversations import rows as conversations
from trainers.data.corpus import PackedCorpus, blocks, open_corpora
from trainers.data.mixture import BatchReader, Mixture

AT_ONCE = 1024  # blocks
TABLES = {"llamafactory": "tokenized/train", "axolotl": "train", "trl": "train"}
Rows = Callable[[int, int], Any]  # the rows (sequences, length) of the packed text from one number to another


def main() -> None:
    study, ingredients = study_file.load(sys.argv[1]), read_ingredients(Path(sys.argv[2]))
    assert ingredients
    name, data, streams = sys.argv[3], Path(sys.argv[4]), json.loads(sys.argv[5])
    print(compared(study, open_corpora(ingredients), name, data, streams).model_dump_json())


def compared(
    study: Study, corpora: dict[str, PackedCorpus], name: str, data: Path, streams: dict[str, str]
) -> TextRead:
    """The packed text of the trainer `name` in the folder `data`, or its `streams`, with the trial's text."""
    if streams:
        return TextRead(foreign=sum(_apart(corpora.get(source), Path(file)) for source, file in streams.items()))
    return in_order(study, corpora, rows(name, data, study.training.sequence_length))


def rows(name: str, folder: Path, length: int) -> Rows:
    """The packed rows of a format whose files have them in the run's order."""
    if name in TABLES:
        table = datasets.load_from_disk(str(folder / TABLES[name])).with_format("numpy")
        return lambda first, end: np.asarray(table[first : min(end, len(table))]["input_ids"], np.int64)
    tokens = np.memmap(folder / "train.bin", "<u4", "r").reshape(-1, length)
    return lambda first, end: tokens[first:end].astype(np.int64)


def in_order(study: Study, corpora: dict[str, PackedCorpus], packed: Rows) -> TextRead:
    """Compare each row of the run with the trial's at its place."""
    [(almr, _, seed)] = study.grid.points
    mixture, size = Mixture.of(almr, seed, study.corpora, corpora), study.training.batch_sequences
    batches, foreign = [], 0
    for step, wanted in enumerate(BatchReader(corpora, mixture, size).read(range(study.training.steps))):
        found, whole = packed(step * size, (step + 1) * size), conversations.ids(wanted.numpy())
        same = (found == whole).all(1) if found.shape == whole.shape else np.zeros(size, bool)
        slots = mixture.batch(step, size)
        batches.append(dict(Counter(slot.source for slot, equal in zip(slots, same, strict=True) if equal)))
        foreign += int((~same).sum())
    return TextRead(batches=tuple(batches), foreign=foreign)


def _apart(corpus: PackedCorpus | None, file: Path) -> int:
    """How many tokens of a file (int32) are not those of the source's training part, at their place."""
    tokens = np.memmap(file, "<i4", "r")
    if corpus is None:
        return len(tokens)
    at, total, found = 0, len(corpus.training), 0
    for first in range(0, total, AT_ONCE):
        wanted = blocks(corpus.training, range(first, min(first + AT_ONCE, total))).reshape(-1)
        read = tokens[at : at + len(wanted)]
        found += int((read != wanted[: len(read)]).sum()) + len(wanted) - len(read)
        at += len(wanted)
    return found + max(0, len(tokens) - at)


if __name__ == "__main__":
    main()
