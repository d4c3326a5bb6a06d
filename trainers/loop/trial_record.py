"""The record of a trial, from what it was made from and what its training measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sweep.study import LANGUAGES, Ingredients, Record, Status, Study, Trial
from sweep.study.numbers import finite
from sweep.study.record import SAME_TEXT
from sweep.study.sizes.shape import Shape
from trainers.data.mixture import Mixture, additional_blocks
from trainers.loop.held_out import Losses, per_language
from trainers.loop.learner import Learner
from trainers.loop.trial_training import TrialTraining
from trainers.model.loading import parameters
from trainers.workers.device import device_name, mfu
from trainers.workers.group import WorkerGroup


@dataclass(frozen=True)
class TrialSetup:
    """What one trial is made from, as one of its workers sees it. `began` is a reading of `time.perf_counter`."""

    study: Study
    trial: Trial
    ingredients: Ingredients
    folder: Path
    attempt: int
    workers: WorkerGroup
    began: float


@dataclass(frozen=True)
class TrialResult:
    """What a trial measured after its training. `reason` says why it diverged, `scored` are fields of the record."""

    losses: Losses
    reason: str | None
    scored: dict[str, Any]
    scoring_provenance: dict[str, Any]
    memory_bytes: int


def make_record(setup: TrialSetup, training: TrialTraining, result: TrialResult) -> Record:
    study, trial = setup.study, setup.trial
    return Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=study.fingerprint,
        attempt=setup.attempt,
        status=Status.DIVERGED if result.reason else Status.COMPLETE,
        reason=result.reason,
        **_counts(training),
        **_measured(training, result.losses),
        horizons=tuple(training.horizons[tokens] for tokens in study.training.horizons),
        **result.scored,
        **_cost(training.learner, study, time.perf_counter() - setup.began),
        peak_memory_bytes=result.memory_bytes,
        provenance=_provenance(setup, training) | result.scoring_provenance,
    )


def _counts(training: TrialTraining) -> dict[str, Any]:
    """What the main run was trained on, counted in blocks of equal length. Branches draw the same blocks."""
    learner, reader = training.learner, training.reader
    length = learner.training.sequence_length
    drawn = learner.step * reader.sequences
    additional = additional_blocks(drawn, reader.mixture.almr)
    return {
        "steps": learner.step,
        "tokens": drawn * length,
        "trained_tokens": learner.steps_taken * reader.sequences * length,
        "almr_achieved": additional / drawn,
    }


def _measured(training: TrialTraining, losses: Losses) -> dict[str, Any]:
    """Losses and epochs: of each language and, where the study names sources, of each source."""
    base, held_out, reader = training.watch.base, training.held_out, training.reader
    values = {
        "loss": finite(losses),
        "base_loss": finite(base),
        "bits_per_byte": finite(held_out.bits_per_byte(losses)),
        "base_bits_per_byte": finite(held_out.bits_per_byte(base)),
        "epochs": epochs(reader.mixture, training.learner.step * reader.sequences),
    }
    languages = {field: per_language(of) for field, of in values.items()}
    return languages | {"sources": held_out.source_results(**values)}


def epochs(mixture: Mixture, drawn: int) -> dict[str, float]:
    """The epochs of each source; a language's are those of its source that is read most often."""
    of_source = mixture.epochs(drawn)
    most = {
        language: max(of_source[source.name] for source in mixture.sources if source.language == language)
        for language in LANGUAGES
    }
    return most | of_source


def _cost(learner: Learner, study: Study, seconds: float) -> dict[str, Any]:
    device, workers = learner.workers.device, learner.workers.size
    speed = learner.steps_taken * study.training.global_batch_tokens / learner.seconds
    flops = flops_per_token(learner.model, study.training.sequence_length)
    return {
        "seconds": seconds,
        "training_seconds": learner.seconds,
        "tokens_per_second": speed,
        "mfu": flops and mfu(flops, speed, device, workers),
        "gpu_hours": seconds * study.resources.gpus / 3600,
    }


def flops_per_token(model: Any, sequence_length: int) -> float | None:
    """As in `almr plan`; None for a model of another kind."""
    try:
        return Shape.of_config(model.config.to_dict()).training_flops(sequence_length)
    except ValueError:
        return None


def _provenance(setup: TrialSetup, training: TrialTraining) -> dict[str, Any]:
    learner, workers = training.learner, setup.workers
    own = setup.study.training.batch_sequences // workers.size
    return {
        "parameters": parameters(learner.model),
        "device": device_name(workers.device),
        "torch": torch.__version__,
        "fingerprints": setup.ingredients.fingerprints(),
        **({SAME_TEXT: "; ".join(one.reason for one in stated)} if (stated := setup.ingredients.same_text) else {}),
        "execution": {
            "workers": workers.size,
            "micro_batch_sequences": learner.micro_batch.of(own),
            "gone_on_from_steps": training.resumed,
        },
    }
