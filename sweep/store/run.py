"""A run: its study, the trials that were requested, their records, and what is left to run."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sweep.store import lock
from sweep.store.provenance import copy_code, provenance
from sweep.store.remote import is_remote
from sweep.store.storage import RunStorage, named
from sweep.study import Ingredients, InputError, Proposed, Record, Status, Study, Trial, study_file
from sweep.study.files import cache
from sweep.study.files.layout import PARITY, TRIALS, ScoreFiles, TrialFiles, is_of_trial, is_read_by_drivers
from sweep.study.files.reader import NewerFileError, json_lines, read_object
from sweep.study.ingredients import SearchState, read_ingredients, read_search
from sweep.study.record import TrialRequest, read_record, read_request

Content = TypeVar("Content")
LATE_SECONDS = 90  # NFS clients may remember for a minute that a file was missing
LOOK_SECONDS = 20.0  # between looks of a display at a running trial
IF_THE_SAME = "; if the text is the same, state it: --same-text REASON"
BESIDE_STEPS = {"horizon", "held_out"}  # in lines of metrics.jsonl that are no step of the main run


class Run(RunStorage):
    """One run directory. Reading never changes it. A trial is done when its `record.json` is written."""

    @staticmethod
    def within(runs: str | Path, name: str) -> Run:
        """The run of this name under `runs`; it need not exist yet."""
        return Run._at(named(runs, name))

    @staticmethod
    def find(name: str, runs: str | Path) -> Run:
        """An existing run by its folder or address, or its name under `runs`. Raises InputError where there is none."""
        for address in [name] if is_remote(name) else [name, named(runs, name)]:
            if (run := Run._at(address)).files.study.is_file():
                return run
        if Path(name).exists():
            lost = f"; if that was lost, copy the study file to {run.files.study}" if run.files.trials.is_dir() else ""
            raise InputError(f"{name}: not a run (a run is a folder with study.yaml{lost})")
        if Path(name).suffix[1:].isalpha():
            raise InputError(f"{name}: no such file")
        raise InputError(f"{name}: no such run, here or in {runs}/; start one: almr run STUDY")

    @staticmethod
    def _at(address: str | Path) -> Run:
        run = Run(address)
        run.refresh()
        return run

    def study(self) -> Study:
        return study_file.load(self.files.study)

    def freeze(self, study: Study) -> None:
        """Write the study into its run. Its grid may grow; raises InputError where its recipe differs."""
        self.refuse_other_recipe(study)
        self.write(self.files.study, study_file.dump(study))

    def refuse_other_recipe(self, study: Study, same_text: bool = False) -> None:
        """Raises InputError where this run's trials have another recipe: by the study's fields, which it names, or by
        the version of almr that trained them. `same_text`: the user states that another place has the same text.
        """
        if not self.files.study.exists():
            return
        before = self.study()
        stated = same_text or before.fingerprint in self._stated()
        changed = study_file.changed_fields(before, study, with_text=False)
        if changed or (not stated and study_file.changed_fields(before, study)):
            changes = "; ".join(study_file.changed_fields(before, study))
            raise InputError(
                f"{self.address}: its trials have another recipe ({changes}): undo the change in the study, or give "
                f"the study another name for a new run{'' if changed else IF_THE_SAME}"
            )
        known = {study.fingerprint, *self._stated(), *([before.fingerprint] if same_text else [])}
        if other := self._of_other_recipe(known):
            raise InputError(
                f"{self.address}: its trials have another recipe: {other.trial_id} was trained by another version of "
                f"almr, of fingerprint {other.fingerprint}; this version has {study.fingerprint}, and its LR ends at "
                f"schedule.min_lr: give the study another name for a new run, or use that version"
            )

    def _of_other_recipe(self, known: set[str]) -> Record | None:
        """A trial's record of another recipe: failed trials are run again, unreadable records refused where used."""
        for path in self.files.records():
            with contextlib.suppress(InputError):
                record = read_record(path)
                if record.status is not Status.FAILED and record.fingerprint not in known:
                    return record
        return None

    def _stated(self) -> set[str]:
        """The recipes whose text is that of now, as the user stated."""
        made = self.ingredients()
        return made.recipes if made else set()

    def trial_folder(self, trial: Trial) -> Path:
        return self.files.trial(trial.id).folder

    def log(self, trial: Trial, rank: int = 0) -> Path:
        """The output of a rank of the trial."""
        return self.files.trial(trial.id).log(rank)

    def record(self, trial: Trial) -> Record | None:
        """The record of a trial, or None. Raises InputError for an unreadable one, so that it is never overwritten."""
        try:
            record = self._read(read_record, self.files.trial(trial.id).record)
        except FileNotFoundError:
            return None
        if {record.trial_id, record.trial.id} != {trial.id}:
            path = self.shown(self.files.trial(trial.id).record)
            raise InputError(
                f"{path}: the record of another trial, {record.trial.id}: delete it to run this trial again"
            )
        return record

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
        """A broken request is read from the trial's record. Raises InputError where there is no record."""
        try:
            return self._read(read_request, files.request)
        except NewerFileError:
            raise
        except InputError:
            if not files.record.exists():
                raise
            return self._read(read_record, files.record).request

    def mend(self) -> None:
        """Write anew what is broken and can be: the requests of trials that have a record."""
        for files in self.files.each_trial():
            try:
                read_request(files.request)
            except InputError:
                if request := self._request(files):
                    self.write(files.request, request.model_dump_json(indent=2))

    def proposed(self, trial: Trial) -> Proposed | None:
        """Why the trial was proposed; None for a trial of the grid."""
        request = self.request(trial)
        return request.proposed if request else None

    def attempts(self, trial: Trial) -> int:
        """How many attempts at the trial have begun."""
        request = self.request(trial)
        return request.attempt if request else 0

    def search_state(self) -> SearchState | None:
        """The state of the search. None before it has ended once, and for a broken file: the search writes it anew."""
        try:
            return self._read(read_search, self.files.search)
        except NewerFileError:
            raise
        except InputError:
            return None

    def finish(self, record: Record) -> None:
        """Write a trial's record. The trial's other files are pushed first: record.json is the last."""
        if self.mirror:
            self.mirror.push(lambda name: is_of_trial(name, record.trial_id))
        self.write(self.files.trial(record.trial_id).record, record.model_dump_json(indent=2))

    def keep_base_scores(self, record: Record) -> None:
        """Copy the base model's scores and failures from the worker's cache into the run."""
        name = record.provenance.get("base_scores")
        if name:
            measured, here = ScoreFiles(cache.root() / "base_scores" / str(name)), self.files.base
            pairs = [(getattr(measured, kind), getattr(here, kind)) for kind in ("questions", "failures", "scores")]
            for source, target in pairs:
                self.write(target, source.read_text(encoding="utf-8"))

    def progress(self, trial: Trial) -> int:
        """The last step that the main run of a running trial has logged, 0 before the first."""
        return int(self.last_step(trial).get("step", 0))

    def last_step(self, trial: Trial) -> dict[str, Any]:
        """The metrics of the last step that the main run of a trial has logged; empty before the first."""
        path = self.files.trial(trial.id).metrics
        if self.mirror:
            self.mirror.fetch(self.files.name(path), every_seconds=LOOK_SECONDS)
        lines = list(json_lines(path, "step", "seconds"))  # not "loss", which is NaN while a trial diverges
        return next((x for x in reversed(lines) if x.get("step") is not None and not BESIDE_STEPS & x.keys()), {})

    def ingredients(self) -> Ingredients | None:
        """The prepared model and corpora of the trials; None before they are prepared. Of a replayed study: what
        it states.
        """
        return self._read(read_ingredients, self.files.ingredients)

    def _read(self, read: Callable[[Path], Content], path: Path) -> Content:
        """Read a file. Errors name it by its address."""
        try:
            return read(path)
        except InputError as error:
            raise type(error)(str(error).replace(str(path), self.shown(path))) from None

    def keep_ingredients(self, new: Ingredients) -> None:
        """Write the ingredients. Raises InputError where finished trials used other content under the same name."""
        old = self.ingredients()
        before = old.fingerprints() if old else {}
        changed = [name for name, value in new.fingerprints().items() if old and before.get(name) != value]
        excused = {f"corpora.{name}" for name in new.corpora}
        stated = old and new.same_text[len(old.same_text) :] and excused.issuperset(changed)
        if changed and self.files.records() and not stated:
            raise InputError(
                f"{self.address}: the content of {', '.join(changed)} has changed since its finished trials: restore "
                f"it, or give the study another name for a new run{IF_THE_SAME if excused.issuperset(changed) else ''}"
            )
        self.write(self.files.ingredients, new.model_dump_json(indent=2))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run while the block runs: pull its files before, push them after.

        Raises InputError naming the driver that holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock.held(self.lock_file(), self.address):
            self.refresh()
            try:
                yield
            finally:
                self.share()

    def refresh(self, trial: Trial | None = None) -> None:
        """Pull one trial's record or, without `trial`, all files of the run except logs and models of trials."""
        self.pull(is_read_by_drivers, f"{TRIALS}/{trial.id}/" if trial else "")

    def share(self) -> None:
        """Push the files of the run, except those of trials, which their workers push, and of parity runs, of which
        only the results are kept.
        """
        self.push(lambda name: not name.startswith((f"{TRIALS}/", f"{PARITY}/")))

    def await_record(self, trial: Trial) -> Record | None:
        """The record of a trial whose worker has written one; shared storage may show it late."""
        for _ in range(LATE_SECONDS):
            self.refresh(trial)
            if (record := self.record(trial)) and record.status is not Status.FAILED:
                return record  # a failed one is from an earlier attempt
            time.sleep(1)
        return self.record(trial)

    def code_sha256(self) -> str | None:
        """The sha256 of the staged code, from `provenance.json`; None where that is missing or broken."""
        return (read_object(self.files.provenance) or {}).get("code_sha256")

    def stage_code(self) -> str:
        """Copy our packages into the run, for its workers, and write `provenance.json`; returns the code's sha256."""
        sha256 = copy_code(self.files.code)
        self.write(self.files.provenance, json.dumps(provenance(sha256), indent=2))
        return sha256
