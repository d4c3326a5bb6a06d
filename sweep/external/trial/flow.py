"""One trial by another trainer, from its request to its record. Imports no torch: what does runs in other processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydantic

from analysis.launch.plan.launch_plan import DATA
from sweep.external.runs import one_trial, start
from sweep.external.runs.trace import Trace
from sweep.external.runs.trainer_run import PreparedFiles
from sweep.external.trial.job import ExternalTrainer, ExternalTrialError, NodeCommand, TrialJob, TrialNodes
from sweep.external.trial.measuring.measured import MeasureAnswer, MeasureRequest, TrainedRun
from sweep.store.run import Run
from sweep.study import Record, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from sweep.study.ingredients import read_ingredients
from sweep.worker.finite_losses import with_finite_losses
from sweep.worker.group.node import python_path
from sweep.worker.run_trial import begin_log

MAIN = "main"
MEASURE = "sweep.external.trial.measuring.measure"


def carry_out(run: Run, trial: Trial, trainer: ExternalTrainer, nodes: TrialNodes) -> Record:
    """Train, check and measure a trial, and write its record. Raises ExternalTrialError and WorkerGroupError with the
    reason of a failure; then the trainer's checkpoints stay, for the next attempt.
    """
    study, files = run.study(), PreparedFiles(run.files.study, run.files.ingredients)
    began, attempt = time.monotonic(), run.start(trial, study)
    with logged(run.log(trial), attempt):
        record = TrialFlow(study, trial, files, run.trial_folder(trial)).carry_out(trainer, nodes, attempt)
    seconds = time.monotonic() - began
    own = {"seconds": seconds, "gpu_hours": seconds * study.resources.gpus / 3600, "proposed": run.proposed(trial)}
    provenance = record.provenance | {"code_sha256": run.code_sha256()}
    record = with_finite_losses(record.model_copy(update=own | {"provenance": provenance}))
    run.keep_base_scores(record)
    run.finish(record)
    return record


@contextmanager
def logged(log: Path, attempt: int) -> Iterator[None]:
    """The trial's log names the attempt, and ends with what went wrong."""

    def write(line: str) -> None:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as opened:
            opened.write(f"{line}\n")

    begin_log(log, attempt)
    try:
        yield
    except Exception as error:
        write(f"failed: {error}")
        raise


@dataclass(frozen=True)
class TrialFlow:
    """A trial with the files of its study, as it is trained, and its ingredients. `home`: the folder that gets what it
    leaves.
    """

    study: Study
    trial: Trial
    files: PreparedFiles
    home: Path

    @property
    def folder(self) -> Path:
        """What the trainer reads and writes, until there is a record."""
        return self.home / "trainer"

    def carry_out(self, trainer: ExternalTrainer, nodes: TrialNodes, attempt: int) -> Record:
        """The record, without what only the whole trial knows. Raises as `carry_out` of this module."""
        horizons = self.study.training.horizons
        trained = tuple(self._train(trainer, nodes, tokens) for tokens in (*horizons, None))
        record = self._measure(nodes, trained, attempt)
        shutil.rmtree(self.folder, ignore_errors=True)
        return record

    def _train(self, trainer: ExternalTrainer, nodes: TrialNodes, tokens: int | None) -> TrainedRun:
        """A run to a horizon of so many tokens, or to the budget. One that an earlier attempt finished is read."""
        job = self._job(tokens)
        done = job.folder / "trained.json"
        trace = _read(done) or trainer.train(job, nodes)
        write_atomically(done, trace.model_dump_json())
        packed = job.folder / "launch" / DATA
        data = str(packed) if packed.is_dir() else None
        return TrainedRun(tokens=tokens, study=str(job.files.study), data=data, trace=trace)

    def _job(self, tokens: int | None) -> TrialJob:
        ingredients = read_ingredients(self.files.ingredients)
        assert ingredients, "ingredients are written before a trial starts"
        folder = self.folder / (f"horizon-{tokens}" if tokens else MAIN)
        files = PreparedFiles(folder / "study.yaml", self.files.ingredients)
        study = one_trial.of_study(self.study, self.trial, ingredients, tokens)
        write_atomically(files.study, study_file.dump(study))
        return TrialJob(study, self.trial, ingredients, files, folder)

    def _measure(self, nodes: TrialNodes, trained: tuple[TrainedRun, ...], attempt: int) -> Record:
        """From a process of its own. What failed a check is trained anew when it is tried again."""
        asked, answer = self.folder / "request.json", self.folder / "measured.json"
        MeasureRequest(
            study=str(self.files.study),
            ingredients=str(self.files.ingredients),
            trial=self.trial,
            attempt=attempt,
            folder=str(self.home),
            name=self.study.trainer.name,
            runs=trained,
        ).write(asked)
        nodes.run(of_ours(MEASURE, asked, answer, watched=TrialFiles(self.home).heartbeat))
        found = MeasureAnswer.model_validate_json(answer.read_text(encoding="utf-8"))
        if found.record is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ExternalTrialError("; ".join(found.faults))
        return found.record


def of_ours(module: str, *arguments: Path, watched: Path) -> NodeCommand:
    """A module of ours, on the first node."""
    words = (start.OURS, "-P", "-m", module, *map(str, arguments))
    return NodeCommand(words, {"PYTHONPATH": python_path()}, (watched,), first_only=True)


def _read(path: Path) -> Trace | None:
    try:
        return Trace.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, pydantic.ValidationError):
        return None
