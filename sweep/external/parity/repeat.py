"""Which trial the parity runs repeat, and the study of a few steps on short documents."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.external.runs import one_trial
from sweep.study import Ingredients, InputError, Record, Status, Study, Trial

BORDER_STEPS = (20, 50, 100)  # of a run on short documents: the first number that the LR schedule can be had in
LEAST_MINUTES = 1e-3
STEPS_BETWEEN = 5  # about, between the checkpoints of our own trainer, which saves by the clock


@dataclass(frozen=True)
class RepeatedTrial:
    """A finished trial whose training is repeated, of a `study` whose base model is a folder."""

    study: Study
    record: Record

    @property
    def trial(self) -> Trial:
        return self.record.trial


def of_run(study: Study, record: Record, ingredients: Ingredients) -> RepeatedTrial:
    """`ingredients`: with the folder that the trial continued from, and the part of each corpus that it drew from."""
    if study.replay:
        raise InputError("--parity: the trials were read from a table, and none was trained: there is none to repeat")
    if study.training.stage == "dpo":
        raise InputError("--parity repeats trials on text and conversations, not on preference pairs: use --verify")
    own: dict[str, Any] = {
        "name": f"{study.name[:80]}-parity",
        "resources": study.resources.model_dump(mode="json") | {"nodes": 1, "processes": 1},
    }
    return RepeatedTrial(one_trial.of_study(study, record.trial, ingredients, **own), record)


def short_tokens(study: Study) -> int:
    """The tokens of a run on short documents: a few steps, enough for the LR schedule."""
    return study.training.fewest_steps(BORDER_STEPS) * study.training.global_batch_tokens


def short_study(of: RepeatedTrial, texts: dict[str, Path]) -> Study:
    """The study of a few steps on other texts: a JSON Lines file of each source."""
    study, record = of.study, of.record
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= {"tokens": short_tokens(study)}
    seconds = (record.training_seconds or 0.0) / (record.steps or study.training.steps)
    content["execution"] |= {"checkpoint_minutes": max(STEPS_BETWEEN * seconds / 60, LEAST_MINUTES)}
    for name, corpus in one_trial.sources(content):
        kept = {field: corpus[field] for field in ("name", "weight", "language")}
        corpus.clear()
        corpus |= kept | {"files": [str(texts[name])], "near_copies": "keep"}
    return Study.model_validate(content)


def choose(records: Iterable[Record], named: str | None, almr: float, lr: float) -> Record:
    """The trial of this name, or the complete one that is nearest to the winner. Raises InputError."""
    known = {record.trial_id: record for record in records}
    complete = [record for record in known.values() if record.status is Status.COMPLETE]
    if not complete:
        raise InputError("--parity: the run has no finished trial to repeat: run the study first")
    nearest = min(complete, key=lambda one: math.hypot(one.almr - almr, math.log(one.lr / lr)))
    if named is None:
        return nearest
    if named not in known:
        raise InputError(f"--trial {named}: no such trial in this run; the nearest to the winner: {nearest.trial_id}")
    if known[named].status is not Status.COMPLETE:
        raise InputError(f"--trial {named}: is {known[named].status.value}: name a complete one: {nearest.trial_id}")
    return known[named]
