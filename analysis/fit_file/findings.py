"""Refusals and warnings of a fit. A refusal stops the export; a warning is exported with the winner."""

from __future__ import annotations

import math
from collections.abc import Iterable

from analysis.fit_file.unknown import OrUnknown
from sweep.study import Schema, numbers


class NextTrial(Schema):
    """A suggested trial, which would help to settle a finding."""

    almr: OrUnknown
    lr: float


class Finding(Schema):
    """`code` is one word for scripts, `message` a sentence for people, `next` the suggested trials."""

    code: str
    message: str
    next: tuple[NextTrial, ...] = ()


def suggested(findings: Iterable[Finding]) -> list[str]:
    """One line with the trials that any of the findings suggests, each once; nothing without any."""
    trials = [trial for finding in findings for trial in finding.next]
    if not trials:
        return []
    known = not any(math.isnan(trial.almr) for trial in trials)
    named = (f"{numbers.almr(t.almr)} / {numbers.lr(t.lr)}" if known else numbers.lr(t.lr) for t in trials)
    return [f"Suggested trials ({'ALMR / LR' if known else 'LR'}): {', '.join(dict.fromkeys(named))}"]


def messages(findings: Iterable[Finding]) -> list[str]:
    """The findings in words, one a line, then the trials that they suggest."""
    found = list(findings)
    return [*(finding.message for finding in found), *suggested(found)]
