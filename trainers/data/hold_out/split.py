"""The documents that are held out: a share of a corpus' tokens, in whole documents, in one fixed random order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.study import InputError
from sweep.study.numbers import percent

SEED = 0
MOST = 1 / 3  # of the tokens: where no document is small enough for less, the corpus is refused


@dataclass(frozen=True)
class Split:
    """Row numbers, ascending. `warning`: why much more or less than the wanted share is held out; empty where not."""

    held_out: list[int]
    training: list[int]
    warning: str = ""


def split(sizes: NDArray[np.int64], share: float, where: str) -> Split:
    """Hold out about `share` of the tokens. `sizes`: those of each document.

    A document that would raise the held-out tokens above twice the share is trained on. Where such giants leave too
    little for the share, it is one of the tokens of all other documents. Where every document is too large, the
    smallest is held out. Raises InputError where that is more than MOST of the tokens, or where no text is left.
    """
    total = int(sizes.sum())
    rows = np.random.default_rng(SEED).permutation(len(sizes))
    held_out = _chosen(rows, sizes, share) or [int(np.argmin(sizes))]
    held = int(sizes[held_out].sum()) / total
    if len(held_out) == len(sizes):
        fix = "give at least 2 documents" if len(sizes) == 1 else "give more documents or a smaller held_out"
        raise InputError(
            f"{where}: no text is left to train on after the hold-out ({_documents(sizes)}, held_out {share:g}); {fix}"
        )
    if held > max(MOST, 2 * share):
        raise InputError(
            f"{where}: held_out {share:g} cannot be met: of {_documents(sizes)}, which are never cut, the smallest has "
            f"{percent(held)} of the tokens; split them into more documents"
        )
    training = np.delete(np.arange(len(sizes)), held_out)
    return Split(sorted(held_out), training.tolist(), _warning(sizes, held, share))


def _chosen(rows: NDArray[np.int64], sizes: NDArray[np.int64], share: float) -> list[int]:
    """The rows to hold out, in their fixed order; none where each is too large.

    Where no document is too large, a smaller share holds out a part of what a larger one does.
    """
    most = min(2 * share, (1 + share) / 2)
    of = int(sizes.sum())
    small = int(sizes[sizes <= most * of].sum())
    of = of if small >= most * of else small
    held, chosen = 0, []
    for row in rows.tolist():
        if held + sizes[row] <= most * of:
            held += int(sizes[row])
            chosen.append(row)
            if held >= share * of:
                break
    return chosen


def _warning(sizes: NDArray[np.int64], held: float, share: float) -> str:
    if share / 2 <= held <= 2 * share:
        return ""
    found = f"{percent(held, 1)} of the tokens are held out, not {percent(share, 1)} as in held_out"
    if held > share:
        return f"{found}: of {_documents(sizes)}, which are never cut, the smallest has as much: give more documents"
    largest = percent(float(sizes.max() / sizes.sum()), 1)
    return (
        f"{found}: of {_documents(sizes)}, which are never cut, the largest has {largest} of the tokens and is trained "
        f"on: split it into several documents, or leave it out"
    )


def _documents(sizes: NDArray[np.int64]) -> str:
    return "1 document" if len(sizes) == 1 else f"{len(sizes):,} documents"
