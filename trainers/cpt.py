"""One trial of continual pre-training: base model, mixture and recipe in, a Record out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from sweep.study.fields import LANGUAGES
from sweep.study.files.layout import TrialFiles
from sweep.study.ingredients import Ingredients
from sweep.study.record import PerLanguage, Record
from sweep.study.study import Study
from sweep.study.trial import Status, Trial
from trainers.benchmarks.scoring import Scoring
from trainers.data.corpus import PackedCorpus, blocks, open_packed
from trainers.data.mixture import Mixture
from trainers.loop import loop
from trainers.loop import out_of_memory as memory
from trainers.loop import saved_models as kept
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.held_out import HeldOut, Losses, measured_once
from trainers.loop.trunk import TrialTraining, finite
from trainers.model.model import load_model, load_tokenizer, parameters
from trainers.model.token_loss import TokenLoss
from trainers.tracking.tracking import tracked
from trainers.workers import group as gang
from trainers.workers.device import device_name, mfu, peak_memory_bytes
from trainers.workers.group import WorkerGroup
from trainers.workers.heartbeat import Heartbeat

Track = Callable[[dict[str, Any]], None]  # takes a line of metrics.jsonl


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int = 1) -> Record | None:
    """Train one trial and measure it; writes `metrics.jsonl` into `folder` as it goes. Keeping the record is the
    caller's part.

    Of a gang every worker calls it, in torchrun's environment, and the first alone has the record. Raises
    `trainers.loop.out_of_memory.Halved` where a sharded model ran out of memory and the trial is to be started again.
    """
    began = time.perf_counter()
    with gang.opened(study) as workers:
        try:
            return _run(study, trial, ingredients, folder, attempt, workers, began)
        except memory.Halved as smaller:
            memory.note(study, folder, smaller.micro)
            raise


def _run(
    study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int, workers: WorkerGroup, began: float
) -> Record | None:
    beat = Heartbeat(folder).beat if workers.first else _silent
    beat()
    torch.manual_seed(trial.seed + workers.rank)
    corpora = {language: open_packed(Path(ingredients.folders[language])) for language in LANGUAGES}
    loss = _token_loss(study, ingredients, workers)
    beat()
    held_out = HeldOut.of(corpora, study.training, workers, beat)
    base = measured_once(_base_key(study, ingredients, workers), lambda: held_out.losses(loss), workers)
    scoring = Scoring(study, ingredients, corpora, folder)
    scoring.base(loss.model)
    mixture = Mixture(trial.almr, trial.seed, tuple((name, c.facts.blocks) for name, c in corpora.items()))
    watch = DivergenceWatch(trial.almr, base, study.training.divergence_margin, lambda: held_out.losses(loss))
    learner = loop.Learner(loss.model, study.training, trial.lr, loss, workers, beat)
    learner.micro = memory.noted(study, folder)
    sequences = study.training.batch_sequences

    def read(steps: range) -> Iterator[torch.Tensor]:
        return batches(corpora, mixture, steps, sequences, workers.device, workers.rows(sequences))

    identity = trial.model_dump() | {"fingerprint": study.fingerprint} | ingredients.fingerprints()
    checkpoints = Checkpoints(folder, identity, study.execution.checkpoint_minutes, workers)
    with _trunk(study, trial, folder, checkpoints, learner, read, held_out, watch) as trunk:
        after = trunk.train()
    reason = watch.reason or watch.judge(after, learner.step)
    scored = scoring.trial(loss.model, diverged=bool(reason))
    if study.keep != "none" and not reason:
        _keep(study, ingredients, folder, learner, study.objective.of_losses(after, base))
    [memory_bytes] = workers.max(peak_memory_bytes(workers.device))
    checkpoints.delete()
    if not workers.first:
        return None
    return Record(
        **trial.model_dump(),
        **_identity(study, trial, attempt),
        status=Status.DIVERGED if reason else Status.COMPLETE,
        reason=reason,
        **_drawn(mixture, corpora, learner),
        **_losses(held_out, base, after),
        horizons=tuple(trunk.horizons[tokens] for tokens in study.training.horizons),
        **scored,
        **_cost(learner, study, time.perf_counter() - began, int(memory_bytes)),
        provenance=_provenance(learner, study, ingredients, trunk) | scoring.provenance,
    )


@contextmanager
def _trunk(
    study: Study,
    trial: Trial,
    folder: Path,
    checkpoints: Checkpoints,
    learner: loop.Learner,
    read: Callable[[range], Iterator[torch.Tensor]],
    held_out: HeldOut,
    watch: DivergenceWatch,
) -> Iterator[TrialTraining]:
    """The trial's trunk while its log is open, where the newest checkpoint has it."""
    state, workers = checkpoints.newest(), learner.gang
    with (
        _log(folder, workers, state["logged"] if state else 0) as log,
        _tracked(study, trial, folder, workers, state["step"] + 1 if state else 0) as track,
    ):
        trunk = TrialTraining(learner, read, held_out, watch, log, checkpoints, track)
        if state:
            trunk.resume(state)
        yield trunk


def _keep(study: Study, ingredients: Ingredients, folder: Path, learner: loop.Learner, objective: float | None) -> None:
    tokenizer = load_tokenizer(study.base_model, ingredients.base_model)
    most = 1 if study.keep == "best" else None
    kept.keep(learner.model, tokenizer, folder, objective, most, learner.gang, learner.beat)


def _silent() -> None:
    """The heartbeat of workers but the first: they stop when it does."""


def _token_loss(study: Study, ingredients: Ingredients, workers: WorkerGroup) -> TokenLoss:
    model = load_model(study, ingredients.base_model, workers)
    end = None
    if study.training.document_masking:
        end = load_tokenizer(study.base_model, ingredients.base_model).eos_token_id
    return TokenLoss(model, study.training.precision == "bfloat16" and not workers.sharded, end)


def _log(folder: Path, workers: WorkerGroup, kept_bytes: int) -> TextIO:
    """`metrics.jsonl` up to what a checkpoint knows of it; only the first worker writes."""
    if not workers.first:
        return open(os.devnull, "w")
    log = TrialFiles(folder).metrics.open("a")
    log.truncate(kept_bytes)
    return log


@contextmanager
def _tracked(study: Study, trial: Trial, folder: Path, workers: WorkerGroup, first_step: int) -> Iterator[Track]:
    if not workers.first:
        yield lambda line: None
        return
    with tracked(study, trial, folder, first_step) as tracking:
        yield tracking.log


def batches(
    corpora: dict[str, PackedCorpus],
    mixture: Mixture,
    steps: range,
    sequences: int,
    device: torch.device,
    rows: slice = slice(None),
) -> Iterator[torch.Tensor]:
    """Some `rows` (a worker's; all where not said) of the global batches of some steps, each (sequences, length)."""
    for step in steps:
        slots = mixture.batch(step, sequences)[rows]
        drawn: list[Any] = [None] * len(slots)
        for language in LANGUAGES:
            at = [i for i, slot in enumerate(slots) if slot.language == language]
            for i, row in zip(at, blocks(corpora[language].training, [slots[i].block for i in at]), strict=True):
                drawn[i] = row
        yield torch.from_numpy(np.stack(drawn)).to(device)


def _base_key(study: Study, ingredients: Ingredients, workers: WorkerGroup) -> dict[str, Any]:
    training = study.training.model_dump(include={"evaluation_tokens", "precision"})
    if study.training.document_masking:
        training["document_masking"] = True
    key = training | ingredients.fingerprints() | {"device": device_name(workers.device)}
    if workers.size > 1:
        key["workers"] = workers.size
    return key | {"cpus": study.resources.cpus_per_worker}


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


def _cost(learner: loop.Learner, study: Study, seconds: float, memory_bytes: int) -> dict[str, Any]:
    model, device = learner.model, learner.gang.device
    speed = learner.taken * study.training.global_batch_tokens / learner.seconds
    return {
        "seconds": seconds,
        "training_seconds": learner.seconds,
        "tokens_per_second": speed,
        "mfu": mfu(parameters(model), speed, device, learner.gang.size),
        "peak_memory_bytes": memory_bytes,
        "gpu_hours": seconds * study.resources.gpus / 3600,
    }


def _provenance(learner: loop.Learner, study: Study, ingredients: Ingredients, trunk: TrialTraining) -> dict[str, Any]:
    device = device_name(learner.gang.device)
    here = {"parameters": parameters(learner.model), "device": device, "torch": torch.__version__}
    own = study.training.batch_sequences // learner.gang.size
    execution: dict[str, Any] = {"workers": learner.gang.size, "micro_batch_sequences": min(learner.micro or own, own)}
    execution["gone_on_from_steps"] = trunk.resumed
    return here | {"fingerprints": ingredients.fingerprints(), "execution": execution}
