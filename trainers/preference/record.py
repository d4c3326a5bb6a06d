"""The record of a trial on pairs: as that of pre-training, with DPO losses, and the accuracy on held-out pairs."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

import torch

from sweep.study import Record, Status
from sweep.study.numbers import finite
from sweep.study.record import SAME_TEXT, SourceResult
from trainers.loop.held_out import per_language
from trainers.loop.trial_record import TrialSetup, flops_per_token
from trainers.model.loading import parameters
from trainers.preference.held_out import HeldOutResult
from trainers.preference.order import Sizes, epochs, share_of_additional
from trainers.preference.training import PreferenceTraining
from trainers.workers.device import device_name, mfu, peak_memory_bytes

REFERENCE_PASS = 1 / 3  # of a training step's FLOPs: the model that a trial is held to is not differentiated


def make(
    setup: TrialSetup,
    training: PreferenceTraining,
    measured: HeldOutResult,
    reason: str | None,
    model: Any,
    sizes: Sizes,
) -> Record:
    """`reason` says why the trial diverged, `sizes` are the tokens of each source's training pairs."""
    trial = setup.trial
    drawn = training.drawn[: training.step * training.each]
    return Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=setup.study.fingerprint,
        attempt=setup.attempt,
        status=Status.DIVERGED if reason else Status.COMPLETE,
        reason=reason,
        steps=training.step,
        tokens=training.tokens,
        trained_tokens=training.tokens,
        almr_achieved=share_of_additional(drawn),
        **_measured(setup, training, measured, epochs(drawn, sizes)),
        **_cost(setup, training, model),
        peak_memory_bytes=int(peak_memory_bytes(setup.workers.device)),
        provenance=_provenance(setup, training, measured, model),
    )


def _measured(
    setup: TrialSetup, training: PreferenceTraining, measured: HeldOutResult, passes: Mapping[str, float]
) -> dict[str, Any]:
    """Losses and epochs: of each language and, where the study names sources, of each source."""
    values = {"loss": finite(measured.loss), "base_loss": training.watch.base, "epochs": passes}
    languages: dict[str, Any] = {field: per_language(of) for field, of in values.items()}
    if not setup.study.corpora.named:
        return languages
    sources = {
        one.name: SourceResult(
            language=one.language, weight=one.share, **{field: of[one.name] for field, of in values.items()}
        )
        for one in setup.study.corpora.by_name.values()
    }
    return languages | {"sources": sources}


def _cost(setup: TrialSetup, training: PreferenceTraining, model: Any) -> dict[str, Any]:
    seconds = time.perf_counter() - setup.began
    speed = training.tokens / training.seconds
    flops = flops_per_token(model, setup.study.training.sequence_length)
    work = flops and flops * (1 + REFERENCE_PASS)
    return {
        "seconds": seconds,
        "training_seconds": training.seconds,
        "tokens_per_second": speed,
        "mfu": work and mfu(work, speed, setup.workers.device),
        "gpu_hours": seconds * setup.study.resources.gpus / 3600,
    }


def _provenance(setup: TrialSetup, training: PreferenceTraining, measured: HeldOutResult, model: Any) -> dict[str, Any]:
    stated = setup.ingredients.same_text
    return {
        "parameters": parameters(model),
        "device": device_name(setup.workers.device),
        "torch": torch.__version__,
        "trl": importlib.metadata.version("trl"),
        "fingerprints": setup.ingredients.fingerprints(),
        **({SAME_TEXT: "; ".join(one.reason for one in stated)} if stated else {}),
        "pairs": training.step * training.each,
        "held_out_pairs": {name: len(pairs) for name, pairs in training.held_out.pairs.items()},
        "accuracy": measured.accuracy,
        "chosen_log_ratio": finite(measured.chosen),
        "execution": {"workers": 1, "pairs_at_once": training.trainer.setting.at_once},
    }
