"""Trials of changed files that the user states to be the same text: a warning, or a refusal where they differ."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from analysis.decision.case import Case
from analysis.fit_file.findings import Finding
from analysis.fit_file.result import language_label
from analysis.table import table as tables
from analysis.table.table import TriedPoints
from sweep.study import numbers
from sweep.study.record import SAME_TEXT

LEAST_NOISE = 0.002  # nats: rounding of other hardware


def warned(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """Never silently: the statements, and how many trials are older than the last."""
    stated = case.table.attrs.get(SAME_TEXT)
    if not stated:
        return
    used = tables.usable(case.table)
    after = int((_text(used) == "; ".join(stated)).sum())
    reasons = " and ".join(f'"{reason}"' for reason in stated)
    why = f"{len(used) - after} of {len(used)} trials were trained before the files of the text changed"
    yield Finding(code="same_text", message=f"{why}; they count because it is stated to be the same text: {reasons}")


def refused(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """The base model's loss has to be that of the trials before, within the noise of a trial."""
    used = tables.usable(case.table)
    texts = _text(used)
    for name, surface in case.surfaces.items() if texts.nunique() > 1 else ():
        column = f"base_loss_{name}"
        losses = (
            used[column].astype(float).groupby(texts).median().dropna() if column in used else pd.Series(dtype=float)
        )
        noise = max(LEAST_NOISE, float(surface.noise([case.winner.almr], [case.winner.lr])[0]))
        if len(losses) > 1 and losses.max() - losses.min() > noise:
            apart = " and ".join(numbers.number(loss, 4) for loss in (losses.min(), losses.max()))
            why = (
                f"the trials are of different texts: the base model's {language_label(case.study, name)} loss on the "
                f"held-out text is {apart} nats per token, which differ by more than the noise of a trial, "
                f"{numbers.number(noise, 4)}: give the study another name for the new text"
            )
            yield Finding(code="same_text", message=why)


def _text(table: pd.DataFrame) -> pd.Series:
    """By row, what had been stated when the trial was trained; empty before the first statement."""
    return table[SAME_TEXT].fillna("") if SAME_TEXT in table else pd.Series("", table.index)
