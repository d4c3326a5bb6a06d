"""Measures what another trainer left of a trial, as the trials of our own are measured, and makes its record.

    python -m sweep.external.trial.measuring.measure REQUEST ANSWER

In a process of its own: a GPU's memory is free again when it ends. One process measures, whatever a trial has.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from functools import cached_property
from pathlib import Path

from sweep.external.runs.reference import evaluate, read_text
from sweep.external.runs.trace import Losses, Trace
from sweep.external.runs.trainer_run import PreparedFiles, counted
from sweep.external.trial import checks
from sweep.external.trial.job import TrialJob
from sweep.external.trial.measuring import metrics, record_fields
from sweep.external.trial.measuring.measured import MeasureAnswer, MeasureRequest, TrainedRun
from sweep.study import Horizon, Ingredients, InputError, Record, Status, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.ingredients import read_ingredients
from sweep.study.record import TrainerUsed
from trainers.benchmarks.scoring import Scoring
from trainers.data.corpus import open_corpora
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.held_out import HeldOut, measured_once
from trainers.loop.learner import StepMetrics
from trainers.loop.out_of_memory import MicroBatch, stored_micro_batch
from trainers.loop.saved_models import save_if_best
from trainers.loop.trial_record import TrialSetup
from trainers.model.loading import load_tokenizer
from trainers.model.token_loss import TokenLoss
from trainers.trials import cpt
from trainers.workers.heartbeat import Heartbeat


class NoModelError(Exception):
    """What a trainer left as its model is none: it has to train again. The message is one line."""


def main() -> None:
    asked = MeasureRequest.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = Measurement(asked).answer()
    write_atomically(Path(sys.argv[2]), answer.model_dump_json())


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The measurement of one trial by another trainer."""

    asked: MeasureRequest

    @cached_property
    def study(self) -> Study:
        return study_file.load(self.asked.study)

    @cached_property
    def ingredients(self) -> Ingredients:
        found = read_ingredients(Path(self.asked.ingredients))
        assert found
        return found

    @property
    def trial(self) -> Trial:
        return self.asked.trial

    @cached_property
    def setup(self) -> TrialSetup:
        folder = Path(self.asked.folder)
        alone = evaluate.one_worker(self.study)
        workers = dataclasses.replace(alone, heartbeat=Heartbeat(folder).signal)
        return TrialSetup(self.study, self.trial, self.ingredients, folder, self.asked.attempt, workers, 0.0)

    @cached_property
    def held_out(self) -> HeldOut:
        micro_batch = MicroBatch(stored_micro_batch(self.study, self.setup.folder))
        return HeldOut.of(open_corpora(self.ingredients), self.study, self.setup.workers, micro_batch)

    def _model(self, folder: str) -> TokenLoss:
        return evaluate.model_loss(self.study, self.ingredients, folder, self.setup.workers)

    def answer(self) -> MeasureAnswer:
        runs = [run.model_copy(update={"trace": self._counted(run)}) for run in self.asked.runs]
        corpora = open_corpora(self.ingredients)
        scoring = Scoring(self.study, self.ingredients, corpora, self.setup.folder, self.setup.workers)
        base = self._base(scoring)
        faults = [fault for run in runs for fault in self._faults(run, base)]
        if faults:
            return MeasureAnswer(faults=tuple(faults))
        try:
            horizons = tuple(self._horizon(run, base) for run in runs[:-1])
            return MeasureAnswer(record=self._record(runs[-1], base, horizons, scoring))
        except NoModelError as error:
            return MeasureAnswer(faults=(str(error),))

    def _counted(self, run: TrainedRun) -> Trace:
        """With the text that the trainer read, where we packed it."""
        if run.data is None:
            return run.trace
        study = study_file.load(run.study)
        corpora = open_corpora(self.ingredients)
        text = read_text.compared(study, corpora, self.asked.name, Path(run.data), run.trace.streams)
        return counted(run.trace, text, study)

    def _base(self, scoring: Scoring) -> Losses:
        """The base model's losses, and scores where the study has benchmarks: measured once for all trials."""
        loss = self._model(self.ingredients.base_model)
        key = cpt.base_key(self.setup, self.held_out.at_once(loss))
        scoring.base(loss.model)
        return measured_once(key, lambda: self.held_out.losses(loss), self.setup.workers)

    def _faults(self, run: TrainedRun, base: Losses) -> list[str]:
        study = study_file.load(run.study)
        files = PreparedFiles(Path(run.study), Path(self.asked.ingredients))
        job = TrialJob(study, self.trial, self.ingredients, files, Path(run.study).parent)
        if self._diverged_in_training(run.trace, base):
            return []  # it may have ended early
        where = f"run to {run.tokens:,} tokens: " if run.tokens else ""
        return [f"{where}{fault}" for fault in checks.faults(job, run.trace, base)]

    def _watch(self, base: Losses) -> DivergenceWatch:
        return DivergenceWatch(self.trial.almr, base, self.study.training.divergence_margin, lambda: base)

    def _diverged_in_training(self, trace: Trace, base: Losses) -> str | None:
        """By the trainer's own word, or by a loss or gradient of its log that is not finite."""
        watch = self._watch(base)
        for step in trace.steps:
            values = (value for value in (step.loss, step.grad_norm) if value is not None)
            if not all(map(math.isfinite, values)):
                watch(StepMetrics(step.step, 0, math.nan, 0.0, 0.0, 0.0))
                break
        return trace.diverged or watch.reason

    def _after(self, trace: Trace) -> tuple[Losses, TokenLoss | None]:
        """The losses of the model that was left, or those that the trainer measured itself."""
        if trace.model is None:
            return trace.after, None
        try:
            loss = self._model(trace.model)
        except InputError as error:
            why = str(error).removeprefix("base_model.pretrained: ")
            raise NoModelError(f"the model that it left cannot be measured: {why}") from None
        return self.held_out.losses(loss), loss

    def _reason(self, trace: Trace, losses: Losses, base: Losses) -> str | None:
        step = max(trace.by_step, default=self.study.training.steps)
        in_training = self._diverged_in_training(trace, base)
        return in_training or self._watch(base).divergence(losses, step)

    def _horizon(self, run: TrainedRun, base: Losses) -> Horizon:
        assert run.tokens
        steps = self.study.training.steps_of(run.tokens)
        losses, _ = self._after(run.trace)
        if reason := self._reason(run.trace, losses, base):
            return Horizon(tokens=run.tokens, steps=steps, reason=reason)
        return Horizon(tokens=run.tokens, steps=steps, **record_fields.losses(self.held_out, loss=losses))

    def _record(self, run: TrainedRun, base: Losses, horizons: tuple[Horizon, ...], scoring: Scoring) -> Record:
        study, trace = self.study, run.trace
        losses, loss = self._after(trace)
        reason = self._reason(trace, losses, base)
        scored = scoring.trial(loss.model, diverged=bool(reason)) if loss else {}
        if loss and study.keep != "none" and not reason:
            self._keep(loss, study.objective.of_losses(losses, base))
        record = Record(
            **self.trial.model_dump(),
            trial_id=self.trial.id,
            fingerprint=study.fingerprint,
            attempt=self.asked.attempt,
            status=Status.DIVERGED if reason else Status.COMPLETE,
            reason=reason,
            trainer=TrainerUsed(name=self.asked.name, version=self._versions),
            horizons=horizons,
            **record_fields.counts(self.setup, self.asked.runs, trace),
            **record_fields.losses(self.held_out, record_fields.passes(self.setup, trace), loss=losses, base_loss=base),
            **record_fields.speed(self.setup, trace, loss),
            **scored,
            provenance=record_fields.provenance(self.setup, trace, loss) | (scoring.provenance if loss else {}),
        )
        metrics.write(self.setup, trace, base, losses, record)
        return record

    @property
    def _versions(self) -> str:
        """Of the trainer: another attempt may have trained the run to a horizon with another one."""
        return " and ".join(dict.fromkeys(run.trace.versions for run in self.asked.runs))

    def _keep(self, loss: TokenLoss, objective: float | None) -> None:
        """Save the model as ours are saved: with the base model's tokenizer, which some trainers change."""
        tokenizer = load_tokenizer(self.study.base_model, self.ingredients.base_model)
        most = 1 if self.study.keep == "best" else None
        save_if_best(loss.model, tokenizer, self.setup.folder, objective, most, self.setup.workers)


if __name__ == "__main__":
    main()
