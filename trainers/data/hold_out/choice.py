"""What of a corpus is held out, what is trained on, and what is dropped because it repeats held-out text."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import InputError
from sweep.study.numbers import percent
from sweep.study.sections.text.corpora import Corpus
from trainers.data.hold_out import near_copies
from trainers.data.hold_out.held_out_texts import FILE, Rows, TextFile, Together
from trainers.data.hold_out.near_copies import AT_ONCE, Copies, digest
from trainers.data.hold_out.split import Split, split

log = logging.getLogger(__name__)
MUCH = 0.1  # of the tokens: where more is dropped, a warning says so


@dataclass(frozen=True)
class Choice:
    """Row numbers of documents, ascending: each is held out, trained on, or one of the copies, which are dropped."""

    held_out: list[int]
    training: list[int]
    copies: Copies


def choose(
    texts: datasets.Dataset,
    sizes: NDArray[np.int64],
    spec: Corpus,
    where: str,
    others: Sequence[Path] = (),
    again: Path | None = None,
) -> Choice:
    """Hold out a share of the tokens of a corpus, and drop from training what repeats that text or that of `others`,
    the files with the held-out texts of other corpora. `sizes`: the tokens of each document. `again`: the folder of an
    earlier packed corpus, whose held-out documents are held out instead of a share.

    Raises InputError where nothing is left to train on.
    """
    found = _again(texts, again, where) if again else split(sizes, spec.held_out, where)
    if found.warning:
        log.warning("%s: %s", where, found.warning)
    held_out = Together([Rows(texts, found.held_out), *map(TextFile, others)])
    copies = near_copies.find(texts, found.training, held_out, exact_alone=spec.near_copies == "keep")
    dropped = {*copies.exact, *copies.near}
    training = [row for row in found.training if row not in dropped]
    if not training:
        raise InputError(
            f"{where}: no text is left to train on: {len(found.held_out):,} of {len(texts):,} documents are held out, "
            f"and every other one repeats one of them ({told(copies)}): give other documents{_or_keep(copies)}"
        )
    share = float(sizes[[*dropped]].sum() / sizes.sum()) if dropped else 0.0
    if share > MUCH:
        why = "is dropped from training, as it repeats held-out text"
        log.warning("%s: %s of the text %s (%s)%s", where, percent(share), why, told(copies), _or_keep(copies, ": to"))
    return Choice(found.held_out, training, copies)


def _again(texts: datasets.Dataset, folder: Path, where: str) -> Split:
    """The documents that were held out of the corpus in a folder, as often as there.

    Raises InputError where one of them is gone: losses on the others are not those that the finished trials measured.
    """
    file = folder / FILE
    if not file.is_file():
        raise InputError(
            f"{where}: {file}, the held-out text of the run's finished trials, is gone: put it back, or give the study "
            f"another name for a new run"
        )
    wanted, rows = Counter(map(digest, TextFile(file))), []
    for first in range(0, len(texts), AT_ONCE):
        for row, text in enumerate(texts[first : first + AT_ONCE]["text"], first):
            if wanted[key := digest(text)] > 0:
                wanted[key] -= 1
                rows.append(row)
    if gone := wanted.total():
        raise InputError(
            f"{where}: {gone:,} of the {gone + len(rows):,} documents that were held out of the run's finished trials "
            f"{'is' if gone == 1 else 'are'} not in it, so its held-out losses would be of other text: put back those "
            f"of {file}, or give the study another name for a new run"
        )
    return Split(rows, np.delete(np.arange(len(texts)), rows).tolist())


def told(copies: Copies) -> str:
    """The counts, for messages."""
    exact, near = len(copies.exact), len(copies.near)
    return f"{exact:,} {'copy' if exact == 1 else 'copies'}, {near:,} near-{'copy' if near == 1 else 'copies'}"


def _or_keep(copies: Copies, then: str = ", or, to") -> str:
    """The study's field for near-copies, where there are any."""
    return f"{then} train on near-copies all the same, write `near_copies: keep`" if copies.near else ""
