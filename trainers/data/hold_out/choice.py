"""What of a corpus is held out, what is trained on, and what is dropped because it repeats held-out text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import InputError
from trainers.data.hold_out import near_copies
from trainers.data.hold_out.held_out_texts import Rows, TextFile, Together
from trainers.data.hold_out.near_copies import Copies
from trainers.data.hold_out.split import split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Row numbers of documents, ascending: each is held out, trained on, or one of the copies, which are dropped."""

    held_out: list[int]
    training: list[int]
    copies: Copies


def choose(
    texts: datasets.Dataset, sizes: NDArray[np.int64], share: float, where: str, others: Sequence[Path] = ()
) -> Choice:
    """Hold out `share` of the tokens of a corpus, and drop from training what repeats that text or that of `others`,
    the files with the held-out texts of other corpora. `sizes`: the tokens of each document.

    Raises InputError where nothing is left to train on.
    """
    found = split(sizes, share, where)
    if found.warning:
        log.warning("%s: %s", where, found.warning)
    held_out = Together([Rows(texts, found.held_out), *map(TextFile, others)])
    copies = near_copies.find(texts, found.training, held_out)
    dropped = {*copies.exact, *copies.near}
    training = [row for row in found.training if row not in dropped]
    if not training:
        raise InputError(
            f"{where}: no text is left to train on: {len(found.held_out):,} of {len(texts):,} documents are held out, "
            f"and every other one repeats one of them ({told(copies)}): give other documents"
        )
    return Choice(found.held_out, training, copies)


def told(copies: Copies) -> str:
    """The counts, for messages."""
    exact, near = len(copies.exact), len(copies.near)
    return f"{exact:,} {'copy' if exact == 1 else 'copies'}, {near:,} near-{'copy' if near == 1 else 'copies'}"
