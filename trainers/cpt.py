"""One trial of continual pre-training: base model, mixture and recipe in, a Record out."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweep.recipe import Training
from sweep.study import LANGUAGES, Study
from sweep.trial import Ingredients, PerLanguage, Record, Status, Trial
from trainers import loop
from trainers.corpus import PackedCorpus, blocks, open_packed
from trainers.device import device_name, mfu, open_device, peak_memory_bytes
from trainers.divergence import DivergenceWatch
from trainers.held_out import HeldOut, Losses, measured_once
from trainers.mixture import Mixture
from trainers.model import load_model, parameters


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int = 1) -> Record:
    """Train one trial and measure it; writes `metrics.jsonl` into `folder` as it goes. Keeping the record is the
    caller's part.
    """
    began = time.perf_counter()
    device = open_device(study.resources)
    torch.manual_seed(trial.seed)
    corpora = {language: open_packed(Path(ingredients.folders[language])) for language in LANGUAGES}
    model = load_model(study.base_model, ingredients.base_model, study.training, device)
    held_out = HeldOut.of(corpora, study.training, device)
    base = measured_once(_base_key(study, ingredients, device), lambda: held_out.losses(model))
    mixture = Mixture(trial.almr, trial.seed, tuple((name, c.facts.blocks) for name, c in corpora.items()))
    data = batches(corpora, mixture, range(study.training.steps), study.training.batch_sequences, device)
    watch = DivergenceWatch(trial.almr, base, study.training.divergence_margin, lambda: held_out.losses(model))
    last, after = _train(model, study.training, trial.lr, data, held_out, watch, folder / "metrics.jsonl")
    reason = watch.reason or watch.judge(after, last.step)
    return Record(
        **trial.model_dump(),
        **_identity(study, trial, attempt),
        status=Status.DIVERGED if reason else Status.COMPLETE,
        reason=reason,
        **_drawn(mixture, corpora, last, study.training),
        **_losses(held_out, base, after),
        **_cost(model, study, last, time.perf_counter() - began),
        provenance=_provenance(model, ingredients),
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


def _train(
    model: Any,
    training: Training,
    lr: float,
    data: Iterator[torch.Tensor],
    held_out: HeldOut,
    watch: DivergenceWatch,
    metrics: Path,
) -> tuple[loop.Step, Losses]:
    """The last step and the held-out losses after it."""
    with metrics.open("w") as log:
        _log(log, {"step": 0, "tokens": 0, "held_out": watch.base})
        for step in loop.train(model, data, training, lr, watch):
            last = step
            if step.step % training.log_every == 0 or step.step in (1, training.steps):
                _log(log, dataclasses.asdict(step))
            if training.evaluate_every and step.step % training.evaluate_every == 0 and step.step < training.steps:
                _log(log, {"step": step.step, "tokens": step.tokens, "held_out": held_out.losses(model)})
        after = held_out.losses(model)
        _log(log, {"step": last.step, "tokens": last.tokens, "held_out": after})
    return last, after


def _log(log: Any, line: dict[str, Any]) -> None:
    log.write(json.dumps(_finite(line)) + "\n")
    log.flush()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite is absent (None)."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _identity(study: Study, trial: Trial, attempt: int) -> dict[str, Any]:
    return {"trial_id": trial.id, "fingerprint": study.fingerprint, "attempt": attempt}


def _drawn(mixture: Mixture, corpora: dict[str, PackedCorpus], last: loop.Step, training: Training) -> dict[str, Any]:
    """What was really trained on, counted in blocks of equal length."""
    blocks_drawn = last.step * training.batch_sequences
    epochs = mixture.epochs(blocks_drawn)
    achieved = epochs["additional"] * corpora["additional"].facts.blocks / blocks_drawn
    return {"steps": last.step, "tokens": last.tokens, "almr_achieved": achieved, "epochs": PerLanguage(**epochs)}


def _losses(held_out: HeldOut, base: Losses, after: Losses) -> dict[str, PerLanguage]:
    return {
        "loss": PerLanguage(**_finite(after)),
        "base_loss": PerLanguage(**_finite(base)),
        "bits_per_byte": PerLanguage(**_finite(held_out.bits_per_byte(after))),
        "base_bits_per_byte": PerLanguage(**_finite(held_out.bits_per_byte(base))),
    }


def _cost(model: Any, study: Study, last: loop.Step, seconds: float) -> dict[str, Any]:
    speed = last.tokens / last.seconds
    return {
        "seconds": seconds,
        "training_seconds": last.seconds,
        "tokens_per_second": speed,
        "mfu": mfu(parameters(model), speed, model.device),
        "peak_memory_bytes": peak_memory_bytes(model.device),
        "gpu_hours": seconds * study.resources.gpus / 3600,
    }


def _provenance(model: Any, ingredients: Ingredients) -> dict[str, Any]:
    here = {"parameters": parameters(model), "device": device_name(model.device), "torch": torch.__version__}
    return here | {"fingerprints": ingredients.fingerprints()}
