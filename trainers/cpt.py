"""One trial of continual pre-training: base model, mixture and recipe in, a Record out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweep.study import LANGUAGES, Study
from sweep.trial import Ingredients, PerLanguage, Record, Status, Trial
from trainers import loop
from trainers.benchmarks.scoring import Scoring
from trainers.corpus import PackedCorpus, blocks, open_packed
from trainers.device import device_name, mfu, open_device, peak_memory_bytes
from trainers.divergence import DivergenceWatch
from trainers.held_out import HeldOut, Losses, measured_once
from trainers.mixture import Mixture
from trainers.model import load_model, parameters
from trainers.trunk import Trunk, finite


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int = 1) -> Record:
    """Train one trial and measure it; writes `metrics.jsonl` into `folder` as it goes. Keeping the record is the
    caller's part.
    """
    began = time.perf_counter()
    device = open_device(study.resources)
    torch.manual_seed(trial.seed)
    corpora = {language: open_packed(Path(ingredients.folders[language])) for language in LANGUAGES}
    model = load_model(study.base_model, ingredients.base_model, study.execution, device)
    held_out = HeldOut.of(corpora, study.training, device)
    base = measured_once(_base_key(study, ingredients, device), lambda: held_out.losses(model))
    scoring = Scoring(study, ingredients, corpora, folder)
    scoring.base(model)
    mixture = Mixture(trial.almr, trial.seed, tuple((name, c.facts.blocks) for name, c in corpora.items()))
    watch = DivergenceWatch(trial.almr, base, study.training.divergence_margin, lambda: held_out.losses(model))
    learner = loop.Learner(model, study.training, trial.lr)

    def read(steps: range) -> Iterator[torch.Tensor]:
        return batches(corpora, mixture, steps, study.training.batch_sequences, device)

    with (folder / "metrics.jsonl").open("w") as log:
        trunk = Trunk(learner, read, held_out, watch, log)
        after = trunk.train()
    reason = watch.reason or watch.judge(after, learner.step)
    scored = scoring.trial(model, diverged=bool(reason))
    return Record(
        **trial.model_dump(),
        **_identity(study, trial, attempt),
        status=Status.DIVERGED if reason else Status.COMPLETE,
        reason=reason,
        **_drawn(mixture, corpora, learner),
        **_losses(held_out, base, after),
        horizons=tuple(trunk.horizons[tokens] for tokens in study.training.horizons),
        **scored,
        **_cost(learner, study, time.perf_counter() - began),
        provenance=_provenance(model, ingredients) | scoring.provenance,
    )


def batches(
    corpora: dict[str, PackedCorpus], mixture: Mixture, steps: range, sequences: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """The global batches of some steps, each (sequences, length)."""
    for step in steps:
        slots = mixture.batch(step, sequences)
        rows: list[Any] = [None] * len(slots)
        for language in LANGUAGES:
            at = [i for i, slot in enumerate(slots) if slot.language == language]
            for i, row in zip(at, blocks(corpora[language].training, [slots[i].block for i in at]), strict=True):
                rows[i] = row
        yield torch.from_numpy(np.stack(rows)).to(device)


def _base_key(study: Study, ingredients: Ingredients, device: torch.device) -> dict[str, Any]:
    training = study.training.model_dump(include={"evaluation_tokens", "precision"})
    return training | ingredients.fingerprints() | {"cpus": study.resources.cpus, "device": device_name(device)}


def _identity(study: Study, trial: Trial, attempt: int) -> dict[str, Any]:
    return {"trial_id": trial.id, "fingerprint": study.fingerprint, "attempt": attempt}


def _drawn(mixture: Mixture, corpora: dict[str, PackedCorpus], learner: loop.Learner) -> dict[str, Any]:
    """What was really trained on, counted in blocks of equal length. Branches draw what the trunk draws."""
    sequences, length = learner.training.batch_sequences, learner.training.sequence_length
    drawn = learner.step * sequences
    epochs = mixture.epochs(drawn)
    return {
        "steps": learner.step,
        "tokens": drawn * length,
        "trained_tokens": learner.taken * sequences * length,
        "almr_achieved": epochs["additional"] * corpora["additional"].facts.blocks / drawn,
        "epochs": PerLanguage(**epochs),
    }


def _losses(held_out: HeldOut, base: Losses, after: Losses) -> dict[str, PerLanguage]:
    return {
        "loss": PerLanguage(**finite(after)),
        "base_loss": PerLanguage(**finite(base)),
        "bits_per_byte": PerLanguage(**finite(held_out.bits_per_byte(after))),
        "base_bits_per_byte": PerLanguage(**finite(held_out.bits_per_byte(base))),
    }


def _cost(learner: loop.Learner, study: Study, seconds: float) -> dict[str, Any]:
    model = learner.model
    speed = learner.taken * study.training.global_batch_tokens / learner.seconds
    return {
        "seconds": seconds,
        "training_seconds": learner.seconds,
        "tokens_per_second": speed,
        "mfu": mfu(parameters(model), speed, model.device),
        "peak_memory_bytes": peak_memory_bytes(model.device),
        "gpu_hours": seconds * study.resources.gpus / 3600,
    }


def _provenance(model: Any, ingredients: Ingredients) -> dict[str, Any]:
    here = {"parameters": parameters(model), "device": device_name(model.device), "torch": torch.__version__}
    return here | {"fingerprints": ingredients.fingerprints()}
