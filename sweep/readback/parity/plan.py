"""Which launches the parity runs are: the small model, trained again as a trial was, by each format's trainer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.launch.plan import make_plan
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.layout import LaunchHardware
from sweep.planning import model_shape
from sweep.study import CorpusFacts, Ingredients, InputError, Record, Status, Study, Trial
from sweep.study.sections.launch import Format, Launch
from sweep.study.sections.resources import Resources

BORDER_STEPS = (20, 50, 100)  # of a run on short documents: the first number that the LR schedule can be had in
CHECKPOINTS = 2  # the first is half-way
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
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= {"log_every": 1, "evaluate_every": None, "horizons": [], "simulate_epochs": False}
    for name, corpus in _sources(content):
        blocks = ingredients.corpora[name].trial_blocks
        corpus["trial_tokens"] = blocks and blocks * study.training.sequence_length
    changed = {
        "name": f"{study.name[:80]}-parity",
        "base_model": {"pretrained": ingredients.base_model, "trust_remote_code": study.base_model.trust_remote_code},
        "grid": {"almr": [record.almr], "lr": [record.lr], "seeds": [record.seed]},
        "resources": content["resources"] | {"nodes": 1, "processes": 1},
        "search": {},
        "tracking": {"tensorboard": False},
        "launch": None,
        "benchmarks": None,
    }
    return RepeatedTrial(Study.model_validate(content | changed), record)


def short_tokens(study: Study) -> int:
    """The tokens of a run on short documents: a few steps, enough for the LR schedule."""
    steps = next((n for n in BORDER_STEPS if not study.training.schedule.fault(n)), study.training.steps)
    return steps * study.training.global_batch_tokens


def short_study(of: RepeatedTrial, texts: dict[str, Path]) -> Study:
    """The study of a few steps on other texts: a JSON Lines file of each source."""
    study, record = of.study, of.record
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= {"tokens": short_tokens(study)}
    seconds = (record.training_seconds or 0.0) / (record.steps or study.training.steps)
    content["execution"] |= {"checkpoint_minutes": max(STEPS_BETWEEN * seconds / 60, LEAST_MINUTES)}
    for name, corpus in _sources(content):
        kept = {field: corpus[field] for field in ("name", "weight", "language")}
        corpus.clear()
        corpus |= kept | {"files": [str(texts[name])], "near_copies": "keep"}
    return Study.model_validate(content)


def _sources(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sources of a study's content, by name."""
    for language, given in content["corpora"].items():
        for corpus in given if isinstance(given, list) else [given]:
            yield corpus["name"] or language, corpus


def of_study(study: Study, trial: Trial, name: Format, corpora: dict[str, CorpusFacts]) -> LaunchPlan:
    """The launch that trains as the trial did, of a study whose base model is a folder, by a format's trainer."""
    launched = study.model_copy(update={"launch": launch(study, name)})
    assert launched.launch
    target = model_shape.launch_hardware(launched, (name,)) if launched.launch.gpus_per_node else LaunchHardware()
    return make_plan.of_trial(launched, launched.launch, trial, corpora, target)


def launch(study: Study, name: Format) -> Launch:
    """The trial's training as a launch on one node, on as many of a trial's GPUs there as divide its batch."""
    training, resources = study.training, study.resources
    gpus = _gpus(resources, training.batch_sequences)
    own = training.batch_sequences // (gpus or 1)
    most = min(training.micro_batch_sequences or own, own)
    return Launch(
        model=study.base_model.pretrained or "",
        tokens=training.tokens,
        global_batch_tokens=training.global_batch_tokens,
        sequence_length=training.sequence_length,
        corpora=study.corpora,
        nodes=1,
        gpus_per_node=gpus,
        micro_batch_sequences=next(n for n in range(most, 0, -1) if own % n == 0),
        checkpoints=CHECKPOINTS,
        evaluations=1,
        gpu=resources.gpu,
        gpu_gigabytes=resources.gpu_gigabytes,
        shape=study.base_model.shape,
        formats=(name,),
    )


def _gpus(resources: Resources, sequences: int) -> int:
    return next((n for n in range(resources.gpus_per_node, 0, -1) if sequences % n == 0), 0)


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
