"""One trial on packed blocks, of continual pre-training or supervised fine-tuning: from base model to record."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch

from sweep.study import Ingredients, Record, Study, Trial
from sweep.study.files.layout import TrialFiles
from sweep.study.sizes.step import evaluation_sequences
from trainers.benchmarks.scoring import Scoring
from trainers.data.conversations.rendering import ChatRenderer
from trainers.data.corpus import PackedCorpus, open_corpora
from trainers.data.mixture import BatchReader, Mixture
from trainers.data.tokens.borders import Borders
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.held_out import HeldOut, measured_once
from trainers.loop.learner import Learner
from trainers.loop.out_of_memory import MicroBatch, MicroBatchHalvedError, store_micro_batch, stored_micro_batch
from trainers.loop.saved_models import save_if_best
from trainers.loop.trial_record import TrialResult, TrialSetup, make_record
from trainers.loop.trial_training import TrialTraining
from trainers.model.base import chat
from trainers.model.loading import load_model, load_tokenizer
from trainers.model.token_loss import TokenLoss
from trainers.tracking.tracker import Tracker, tracked
from trainers.workers.device import device_name, peak_memory_bytes
from trainers.workers.group import opened


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int = 1) -> Record | None:
    """Train one trial and measure it; writes `metrics.jsonl` into `folder` meanwhile. The caller writes the record.

    Every worker of the trial calls this, in torchrun's environment; the first returns the record, the others None.
    Raises MicroBatchHalvedError where a sharded model ran out of memory and the trial has to be started again.
    """
    began = time.perf_counter()
    with opened(study, folder) as workers:
        try:
            return _run(TrialSetup(study, trial, ingredients, folder, attempt, workers, began))
        except MicroBatchHalvedError as error:
            store_micro_batch(study, folder, error.micro_batch)
            raise


def _run(setup: TrialSetup) -> Record | None:
    study, workers = setup.study, setup.workers
    workers.heartbeat()
    torch.manual_seed(setup.trial.seed + workers.rank)
    corpora = open_corpora(setup.ingredients)
    loss = _token_loss(setup)
    workers.heartbeat()
    stored = stored_micro_batch(study, setup.folder)
    micro_batch = MicroBatch(stored, store=partial(store_micro_batch, study, setup.folder))
    held_out = HeldOut.of(corpora, study, workers, micro_batch)
    base = measured_once(base_key(setup, held_out.at_once(loss)), lambda: held_out.losses(loss), workers)
    scoring = Scoring(study, setup.ingredients, corpora, setup.folder, workers)
    scoring.base(loss.model)
    margin = study.training.divergence_margin
    watch = DivergenceWatch(setup.trial.almr, base, margin, lambda: held_out.losses(loss))
    learner = Learner(loss, study.training, setup.trial.lr, workers, micro_batch)
    with _training(setup, learner, _reader(setup, corpora), held_out, watch) as (training, tracker):
        losses = training.train()
        reason = watch.reason or watch.divergence(losses, learner.step)
        scored = scoring.trial(loss.model, diverged=bool(reason))
        if study.keep != "none" and not reason:
            _save_model(setup, learner, study.objective.of_losses(losses, base))
        [memory_bytes] = workers.max(peak_memory_bytes(workers.device))
        result = TrialResult(losses, reason, scored, scoring.provenance, int(memory_bytes))
        record = make_record(setup, training, result) if workers.first else None
        if record:
            tracker.ended(record)
    training.checkpoints.delete()  # once nothing is waited for
    return record


def _token_loss(setup: TrialSetup) -> TokenLoss:
    study, path = setup.study, setup.ingredients.base_model
    model = load_model(study, path, setup.workers)
    bfloat16 = study.training.precision == "bfloat16" and not setup.workers.sharded
    masked = study.training.document_masking
    if study.training.stage == "sft":
        chat.set_stop(model, ChatRenderer.of(load_tokenizer(study.base_model, path)).stop)
        return TokenLoss(model, bfloat16, masked=masked)
    borders = Borders.of(load_tokenizer(study.base_model, path), study.documents) if masked else None
    return TokenLoss(model, bfloat16, borders)


def base_key(setup: TrialSetup, at_once: int) -> dict[str, Any]:
    """What the base model's held-out loss depends on. `at_once`: its sequences of a forward pass, by rounding."""
    study, workers = setup.study, setup.workers
    training = study.training.model_dump(include={"evaluation_tokens", "precision"})
    if study.training.document_masking:
        training["document_masking"] = True
    if at_once != evaluation_sequences(at_once, study.training.sequence_length, words=1):  # as in most studies
        training["at_once"] = at_once
    if study.corpora.named:
        training["shares"] = {name: source.share for name, source in study.corpora.by_name.items()}
    key = training | setup.ingredients.contents() | {"device": device_name(workers.device)}
    if workers.size > 1:
        key["workers"] = workers.size
    return key | {"cpus": study.resources.cpus_per_worker}


def _reader(setup: TrialSetup, corpora: dict[str, PackedCorpus]) -> BatchReader:
    mixture = Mixture.of(setup.trial.almr, setup.trial.seed, setup.study.corpora, corpora)
    return BatchReader(corpora, mixture, setup.study.training.batch_sequences, setup.workers)


def identity(study: Study, trial: Trial, ingredients: Ingredients) -> dict[str, Any]:
    """What a checkpoint is of: the trial, its recipe and its text."""
    return trial.model_dump() | {"fingerprint": study.fingerprint} | ingredients.fingerprints()


@contextmanager
def _training(
    setup: TrialSetup, learner: Learner, reader: BatchReader, held_out: HeldOut, watch: DivergenceWatch
) -> Iterator[tuple[TrialTraining, Tracker]]:
    """The trial's training while its log and the tracking tools are open, resumed from the newest checkpoint."""
    study, workers = setup.study, setup.workers
    of = identity(study, setup.trial, setup.ingredients)
    checkpoints = Checkpoints(setup.folder, of, study.execution.checkpoint_minutes, workers)
    state = checkpoints.newest()
    logged, first_step = (state["logged"], state["step"] + 1) if state else (0, 0)
    with _log(setup, logged) as log, _tracked(setup, first_step) as tracker:
        training = TrialTraining(
            learner=learner,
            reader=reader,
            held_out=held_out,
            watch=watch,
            log=log,
            checkpoints=checkpoints,
            track=tracker.log,
        )
        if state:
            training.resume(state)
        yield training, tracker


def _log(setup: TrialSetup, logged_bytes: int) -> TextIO:
    """`metrics.jsonl`, cut to the size that it had at the checkpoint, where a loss of power left it as long. Only the
    first worker writes it.
    """
    if not setup.workers.first:
        return open(os.devnull, "w")
    log = TrialFiles(setup.folder).metrics.open("a")
    log.truncate(min(logged_bytes, log.seek(0, os.SEEK_END)))
    log.seek(0, os.SEEK_END)  # else it tells the next checkpoint how long the log was before it was cut
    return log


@contextmanager
def _tracked(setup: TrialSetup, first_step: int) -> Iterator[Tracker]:
    """What takes each line of the log, and the record, to the study's tracking tools: of the first worker only."""
    if not setup.workers.first:
        yield Tracker(setup.study, {})
        return
    with tracked(setup.study, setup.trial, setup.folder, first_step) as tracker:
        yield tracker


def _save_model(setup: TrialSetup, learner: Learner, objective: float | None) -> None:
    tokenizer = load_tokenizer(setup.study.base_model, setup.ingredients.base_model)
    most = 1 if setup.study.keep == "best" else None
    save_if_best(learner.model, tokenizer, setup.folder, objective, most, setup.workers)
