"""One trial of direct preference optimisation: from the model of the stage before, pairs and recipe to a record.

A trial is short: it takes no checkpoint, and one that was interrupted starts again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sweep.study import Ingredients, Record, Study, Trial
from sweep.study.files.layout import TrialFiles
from trainers.benchmarks.scoring import Scoring
from trainers.data.conversations.rendering import ChatRenderer
from trainers.loop.out_of_memory import MicroBatchHalvedError, halved, store_micro_batch, stored_micro_batch
from trainers.loop.saved_models import save_if_best
from trainers.loop.trial_record import TrialSetup
from trainers.model.base import chat
from trainers.model.loading import load_model, load_tokenizer
from trainers.preference import prepared, record, requirements
from trainers.preference.held_out import HeldOutPairs, evenly
from trainers.preference.order import Drawn, PairOrder
from trainers.preference.prepared import ROWS_OF_A_PAIR, PairCorpus
from trainers.preference.trainer import PreferenceTrainer, TrainerSetting
from trainers.preference.training import PreferenceTraining
from trainers.tracking.tracker import Tracker, tracked
from trainers.workers.device import open_device
from trainers.workers.group import WorkerGroup
from trainers.workers.heartbeat import Heartbeat

SCRATCH = ".trl"  # in the trial's folder: TRL wants a folder of its own, and leaves nothing in it


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int = 1) -> Record:
    """Train one trial and measure it; writes `metrics.jsonl` into `folder` meanwhile. The caller writes the record.

    Raises MicroBatchHalvedError where memory ran out and the trial has to be started again.
    """
    requirements.refuse(study)
    began = time.perf_counter()
    workers = WorkerGroup(0, 1, open_device(study.resources), heartbeat=Heartbeat(folder).signal)
    setup = TrialSetup(study, trial, ingredients, folder, attempt, workers, began)
    torch.manual_seed(trial.seed)
    try:
        return _run(setup)
    except torch.OutOfMemoryError:
        pass
    # Outside of the handler: the exception holds the tensors of the failed pass.
    pairs = halved(_at_once(setup), _pairs_of_a_step(study))
    store_micro_batch(study, folder, ROWS_OF_A_PAIR * pairs)
    raise MicroBatchHalvedError(ROWS_OF_A_PAIR * pairs)


def _run(setup: TrialSetup) -> Record:
    study, workers = setup.study, setup.workers
    workers.heartbeat()
    corpora = prepared.opened(setup.ingredients)
    order = _order(setup, corpora)
    drawn = order.first(study.training.steps * _pairs_of_a_step(study))
    model = load_model(study, setup.ingredients.base_model, workers)
    tokenizer = load_tokenizer(study.base_model, setup.ingredients.base_model)
    chat.set_stop(model, ChatRenderer.of(tokenizer).stop)
    scoring = Scoring(study, setup.ingredients, {}, setup.folder, workers)
    scoring.base(model)
    with _opened(setup, drawn) as (training, tracker, setting):
        trainer = PreferenceTrainer(setting, model, tokenizer, prepared.in_order(drawn, corpora), training.listen)
        measured = training.train(trainer, _held_out(study, corpora, trainer))
        reason = training.watch.reason or training.watch.divergence(measured.loss, training.step)
        scored = scoring.trial(model, diverged=bool(reason))
        if study.keep != "none" and not reason:
            _save(setup, model, study.objective.of_losses(measured.loss, training.watch.base))
        made = record.make(setup, training, measured, reason, model, order.sizes)
        made = made.model_copy(update=scored | {"provenance": made.provenance | scoring.provenance})
        tracker.ended(made)
    return made


def _pairs_of_a_step(study: Study) -> int:
    return study.training.batch_sequences // ROWS_OF_A_PAIR


def _at_once(setup: TrialSetup) -> int:
    """Pairs of a forward pass: as many of a step's as the micro-batch has rows for, and a divisor of them."""
    all_of_them = _pairs_of_a_step(setup.study)
    rows = stored_micro_batch(setup.study, setup.folder)
    most = max(1, (rows or ROWS_OF_A_PAIR * all_of_them) // ROWS_OF_A_PAIR)
    return next(pairs for pairs in range(min(most, all_of_them), 0, -1) if all_of_them % pairs == 0)


def _order(setup: TrialSetup, corpora: dict[str, PairCorpus]) -> PairOrder:
    sources = tuple(setup.study.corpora.by_name.values())
    sizes = {name: corpus.sizes for name, corpus in corpora.items()}
    return PairOrder(setup.trial.almr, setup.trial.seed, sources, sizes)


@contextmanager
def _opened(setup: TrialSetup, drawn: list[Drawn]) -> Iterator[tuple[PreferenceTraining, Tracker, TrainerSetting]]:
    """The trial's training while its log, the tracking tools and the folder of TRL are open."""
    study, trial, each = setup.study, setup.trial, _pairs_of_a_step(setup.study)
    scratch = setup.folder / SCRATCH
    setting = TrainerSetting(study, trial.lr, trial.seed, each, _at_once(setup), setup.workers, scratch)
    try:
        with (
            TrialFiles(setup.folder).metrics.open("w") as log,
            tracked(study, trial, setup.folder, 0) as tracker,
        ):
            yield PreferenceTraining(trial, study.training, drawn, each, log, tracker.log), tracker, setting
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _held_out(study: Study, corpora: dict[str, PairCorpus], trainer: PreferenceTrainer) -> HeldOutPairs:
    assert study.training.dpo
    most = study.training.evaluation_tokens // study.training.sequence_length // ROWS_OF_A_PAIR
    pairs = {name: evenly(corpus.held_out, most) for name, corpus in corpora.items()}
    sources = tuple(study.corpora.by_name.values())
    return HeldOutPairs.of(pairs, sources, study.training.dpo.beta, trainer.log_probs)


def _save(setup: TrialSetup, model: Any, objective: float | None) -> None:
    """The model as a Hugging Face directory, with the chat template that it was trained with."""
    tokenizer = load_tokenizer(setup.study.base_model, setup.ingredients.base_model)
    most = 1 if setup.study.keep == "best" else None
    save_if_best(model, tokenizer, setup.folder, objective, most, setup.workers)
