"""The trials of a run: what was requested, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from sweep.store.storage import RunStorage
from sweep.study import InputError, Proposed, Record, Status, Study, Trial
from sweep.study.files import unfinished
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import TrialFiles, is_of_trial
from sweep.study.files.reader import NewerFileError, json_lines
from sweep.study.files.trial_files import read_request, read_trial
from sweep.study.record import TrialRequest

Content = TypeVar("Content")
LOOK_SECONDS = 20.0  # between looks of a display at a running trial
TAIL_BYTES = 2**17  # of metrics.jsonl, some hundred lines
BESIDE_STEPS = {"horizon", "held_out"}  # in lines of metrics.jsonl that are no step of the main run


class RunTrials(RunStorage):
    """The files of a run's trials. A trial is done when its `record.json` is written."""

    def trial_folder(self, trial: Trial) -> Path:
        return self.files.trial(trial.id).folder

    def log(self, trial: Trial, rank: int = 0) -> Path:
        """The output of a rank of the trial."""
        return self.files.trial(trial.id).log(rank)

    def record(self, trial: Trial) -> Record | None:
        """The record of a trial, or None. Raises InputError for an unreadable one, so that it is never overwritten."""
        try:
            return self._read(read_trial, self.files.trial(trial.id).record)
        except FileNotFoundError:
            return None

    def record_sha256(self, trial: Trial) -> str | None:
        """What tells a trial's record from an earlier or a later one, on any machine; None where there is no record."""
        try:
            return sha256(self.files.trial(trial.id).record)
        except FileNotFoundError:
            return None

    def record_written(self, trial: Trial) -> int | None:
        """The time a record was written, in nanoseconds; None where there is no record."""
        try:
            return self.files.trial(trial.id).record.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def left(self, trials: Iterable[Trial]) -> list[Trial]:
        """The trials without a record, and those that failed: a failure of infrastructure is retried."""
        return [t for t in trials if (record := self.record(t)) is None or record.status is Status.FAILED]

    def start(self, trial: Trial, study: Study) -> int:
        """Note that an attempt at a trial begins; returns its number, from 1."""
        return self.write_request(trial, study, self.proposed(trial), 1 + self.attempts(trial)).attempt

    def write_request(self, trial: Trial, study: Study, proposed: Proposed | None, attempt: int = 0) -> TrialRequest:
        """Note that a trial is to be run, and why it was proposed."""
        request = TrialRequest(**trial.model_dump(), fingerprint=study.fingerprint, attempt=attempt, proposed=proposed)
        self.write(self.files.trial(trial.id).request, request.model_dump_json(indent=2))
        return request

    def requests(self) -> list[TrialRequest]:
        """Every trial that was ever requested, those of a search in the order of its proposals."""
        found = map(self._request, self.files.each_trial())
        return sorted((r for r in found if r), key=lambda r: r.proposed.index if r.proposed else -1)

    def own_requests(self, study: Study) -> list[TrialRequest]:
        """The requests of the study's trials, and of those that the user named beside them."""
        return [r for r in self.requests() if r.also or study.includes(r.almr, r.lr, r.seed)]

    def proposals(self, study: Study) -> list[TrialRequest]:
        """Those that a search, or the user, proposed, in their order."""
        return [request for request in self.own_requests(study) if request.proposed]

    def request(self, trial: Trial) -> TrialRequest | None:
        return self._request(self.files.trial(trial.id))

    def _request(self, files: TrialFiles) -> TrialRequest | None:
        """A request that is lost or broken is read from the trial's record. Raises InputError where there is none."""
        try:
            found = self._read(read_request, files.request)
            return found or (self._read(read_trial, files.record).request if files.record.is_file() else None)
        except NewerFileError:
            raise
        except InputError:
            if not files.record.exists():
                raise
            return self._read(read_trial, files.record).request

    def mend(self) -> None:
        """Write anew what is broken and can be: the requests of trials that have a record. Remove what killed processes
        left half written.
        """
        unfinished.remove_abandoned(self.folder, self.files.figures, self.files.base.folder, self.files.confirmation)
        for files in self.files.each_trial():
            unfinished.remove_abandoned(files.folder)
            try:
                lost = read_request(files.request) is None
            except InputError:
                lost = True
            if lost and (request := self._request(files)):
                self.write(files.request, request.model_dump_json(indent=2))

    def proposed(self, trial: Trial) -> Proposed | None:
        """Why the trial was proposed; None for a trial of the grid."""
        request = self.request(trial)
        return request.proposed if request else None

    def attempts(self, trial: Trial) -> int:
        """How many attempts at the trial have begun."""
        request = self.request(trial)
        return request.attempt if request else 0

    def finish(self, record: Record) -> None:
        """Write a trial's record. The trial's other files are pushed first: record.json is the last."""
        if self.mirror:
            self.mirror.push(lambda name: is_of_trial(name, record.trial_id))
        self.write(self.files.trial(record.trial_id).record, record.model_dump_json(indent=2))

    def progress(self, trial: Trial) -> int:
        """The last step that the main run of a running trial has logged, 0 before the first."""
        return int(self.last_step(trial).get("step", 0))

    def last_step(self, trial: Trial) -> dict[str, Any]:
        """The metrics of the last step that the main run of a trial has logged; empty before the first."""
        return next(reversed(self.last_steps(trial)), {})

    def last_steps(self, trial: Trial) -> list[dict[str, Any]]:
        """As `steps`, but of a long log those at its end alone."""
        path = self._fetched_metrics(trial)
        return _main_steps(path, TAIL_BYTES) or _main_steps(path, None)

    def steps(self, trial: Trial) -> list[dict[str, Any]]:
        """The metrics of each step that the main run of a trial has logged."""
        return _main_steps(self._fetched_metrics(trial), None)

    def _fetched_metrics(self, trial: Trial) -> Path:
        path = self.files.trial(trial.id).metrics
        if self.mirror:
            self.mirror.fetch(self.files.name(path), every_seconds=LOOK_SECONDS)
        return path

    def _read(self, read: Callable[[Path], Content], path: Path) -> Content:
        """Read a file. Errors name it by its address."""
        try:
            return read(path)
        except InputError as error:
            raise type(error)(str(error).replace(str(path), self.shown(path))) from None


def _main_steps(path: Path, last_bytes: int | None) -> list[dict[str, Any]]:
    """The lines of the main run's steps. Of numbers, "loss" may be none: it is NaN while a trial diverges."""
    lines = json_lines(path, "step", "seconds", last_bytes=last_bytes)
    return [line for line in lines if line.get("step") is not None and not BESIDE_STEPS & line.keys()]
