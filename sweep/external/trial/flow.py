"""One trial by another trainer, from its request to its record. Imports no torch: what does runs in other processes."""

from __future__ import annotations

import json
import os
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
from sweep.external.trial.measured import MeasureAnswer, MeasureRequest, TrainedRun
from sweep.store.run import Run
from sweep.study import Ingredients, Record, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.worker.group.node import CODE

MAIN = "main"
MEASURE = "sweep.external.trial.measure"


def carry_out(run: Run, trial: Trial, trainer: ExternalTrainer, nodes: TrialNodes) -> Record:
    """Train, check and measure a trial, and write its record. Raises ExternalTrialError and WorkerGroupError with the
    reason of a failure; then the trainer's checkpoints stay, for the next attempt.
    """
    study, ingredients = run.study(), run.ingredients()
    assert ingredients, "ingredients are written before a trial starts"
    began, attempt = time.monotonic(), run.start(trial, study)
    with _logged(run.log(trial), attempt):
        flow = _Flow(run, study, trial, ingredients, nodes)
        trained = tuple(flow.train(trainer, tokens) for tokens in (*study.training.horizons, None))
        record = flow.measure(trained, attempt)
    seconds = time.monotonic() - began
    own = {"seconds": seconds, "gpu_hours": seconds * study.resources.gpus / 3600, "proposed": run.proposed(trial)}
    provenance = record.provenance | {"code_sha256": run.code_sha256()}
    record = record.model_copy(update=own | {"provenance": provenance})
    shutil.rmtree(flow.folder, ignore_errors=True)
    run.keep_base_scores(record)
    run.finish(record)
    return record


@contextmanager
def _logged(log: Path, attempt: int) -> Iterator[None]:
    """The trial's log names the attempt, and ends with what went wrong."""

    def write(line: str) -> None:
        with log.open("a", encoding="utf-8") as opened:
            opened.write(f"{line}\n")

    write(f"--- attempt {attempt}")
    try:
        yield
    except Exception as error:
        write(f"failed: {error}")
        raise


@dataclass(frozen=True)
class _Flow:
    run: Run
    study: Study
    trial: Trial
    ingredients: Ingredients
    nodes: TrialNodes

    @property
    def folder(self) -> Path:
        return self.run.trial_folder(self.trial) / "trainer"

    def train(self, trainer: ExternalTrainer, tokens: int | None) -> TrainedRun:
        """A run to a horizon of so many tokens, or to the budget. One that an earlier attempt finished is read."""
        job = self._job(tokens)
        done = job.folder / "trained.json"
        before = _read(done)
        trace = before or trainer.train(job, self.nodes)
        write_atomically(done, json.dumps(trace.model_dump()))
        packed = job.folder / "launch" / DATA
        data = str(packed) if packed.is_dir() else None
        return TrainedRun(tokens=tokens, study=str(job.files.study), data=data, trace=trace)

    def _job(self, tokens: int | None) -> TrialJob:
        folder = self.folder / (f"horizon-{tokens}" if tokens else MAIN)
        files = PreparedFiles(folder / "study.yaml", self.run.files.ingredients)
        study = one_trial.of_study(self.study, self.trial, self.ingredients, tokens)
        write_atomically(files.study, study_file.dump(study))
        return TrialJob(study, self.trial, self.ingredients, files, folder)

    def measure(self, trained: tuple[TrainedRun, ...], attempt: int) -> Record:
        """The record of what was trained, from a process of its own. What failed a check is trained anew when tried
        again.
        """
        asked, answer = self.folder / "request.json", self.folder / "measured.json"
        MeasureRequest(
            study=str(self.run.files.study),
            ingredients=str(self.run.files.ingredients),
            trial=self.trial,
            attempt=attempt,
            folder=str(self.run.trial_folder(self.trial)),
            name=self.study.trainer.name,
            runs=trained,
        ).write(asked)
        path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
        words = (start.OURS, "-m", MEASURE, str(asked), str(answer))
        heartbeat = self.run.files.trial(self.trial.id).heartbeat
        self.nodes.run(NodeCommand(words, {"PYTHONPATH": path}, (heartbeat,), first_only=True))
        found = MeasureAnswer.model_validate_json(answer.read_text(encoding="utf-8"))
        if found.record is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ExternalTrialError("; ".join(found.faults))
        return found.record


def _read(path: Path) -> Trace | None:
    try:
        return Trace.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, pydantic.ValidationError):
        return None
