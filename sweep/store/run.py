"""The run directory, and the only module that knows its layout: what was asked, what is done, what is left."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from sweep.store.provenance import copy_code, provenance
from sweep.store.remote import is_remote
from sweep.store.storage import RunStorage, named
from sweep.study import study_file
from sweep.study.errors import InputError
from sweep.study.files import cache
from sweep.study.files.layout import RECORD, TRIALS, ScoreFiles, is_of_trial, is_read_by_drivers
from sweep.study.ingredients import Ingredients, SearchState, read_ingredients, read_search
from sweep.study.record import Record, read_record
from sweep.study.study import Study
from sweep.study.trial import Proposed, Status, Trial, TrialRequest, read_request
from trainers.loop.out_of_memory import note_name

Content = TypeVar("Content")
LATE_SECONDS = 90  # NFS clients may remember for a minute that a file was not there
PUSH_SECONDS = 30.0  # a running trial's files
LOOK_SECONDS = 20.0  # a display looks at each


class Run(RunStorage):
    """One run directory. Reading never changes it; a trial is done when its `record.json` stands."""

    @staticmethod
    def within(runs: str | Path, name: str) -> Run:
        """The run of this name among `runs`, which need not exist yet."""
        return Run._at(named(runs, name))

    @staticmethod
    def find(name: str, runs: str | Path) -> Run:
        """An existing run by its folder or address, or its name under `runs`. Raises InputError where there is none."""
        for address in [name] if is_remote(name) else [name, named(runs, name)]:
            if (run := Run._at(address)).files.study.is_file():
                return run
        raise InputError(f"{name}: no run here or in {runs}/ (a run is a folder with study.yaml); start one: almr run")

    @staticmethod
    def _at(address: str | Path) -> Run:
        run = Run(address)
        run.refresh()
        return run

    def study(self) -> Study:
        return study_file.load(self.files.study)

    def freeze(self, study: Study) -> None:
        """Keep the study with its run; a grown grid is taken."""
        self.refuse_other_recipe(study)
        self.write(self.files.study, study_file.dump(study))

    def refuse_other_recipe(self, study: Study) -> None:
        """Raises InputError where this run's trials were made by another recipe, with the fields that changed."""
        if self.files.study.exists() and (changes := study_file.changed_fields(self.study(), study)):
            raise InputError(
                f"{self.address}: holds trials of another recipe ({'; '.join(changes)}); "
                f"undo that in the study, or give the study another name for a new run"
            )

    def trial_folder(self, trial: Trial) -> Path:
        return self.files.trial(trial.id).folder

    def log(self, trial: Trial, rank: int = 0) -> Path:
        """What a rank of the trial printed."""
        return self.files.trial(trial.id).log(rank)

    def record(self, trial: Trial) -> Record | None:
        """The finished record of a trial, or None. An unreadable one is an InputError: it is never overwritten."""
        try:
            return self._read(read_record, self.files.trial(trial.id).record)
        except FileNotFoundError:
            return None

    def record_written(self, trial: Trial) -> int | None:
        """When, in nanoseconds; it changes whenever a record is kept. None where there is none."""
        try:
            return self.files.trial(trial.id).record.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def left(self, trials: Iterable[Trial]) -> list[Trial]:
        """Trials that have no record, or one that failed: infrastructure is tried again."""
        return [t for t in trials if (record := self.record(t)) is None or record.status is Status.FAILED]

    def start(self, trial: Trial, study: Study) -> int:
        """Note that an attempt begins; returns its number, from 1."""
        before = self.asked(trial)
        attempt = 1 + self.attempts(trial)
        self.ask(trial, study, before.proposed if before else None, attempt)
        return attempt

    def ask(self, trial: Trial, study: Study, proposed: Proposed | None, attempt: int = 0) -> None:
        """Note that a trial is to be run, and why a search asked for it."""
        asked = TrialRequest(**trial.model_dump(), fingerprint=study.fingerprint, attempt=attempt, proposed=proposed)
        self.write(self.files.trial(trial.id).request, asked.model_dump_json(indent=2))

    def asked(self, trial: Trial) -> TrialRequest | None:
        return self._read(read_request, self.files.trial(trial.id).request)

    def all_asked(self) -> list[TrialRequest]:
        """Every trial that was ever asked for, a search's in the order of its proposals."""
        found = (self._read(read_request, trial.request) for trial in self.files.each_trial())
        return sorted((a for a in found if a), key=lambda a: a.proposed.index if a.proposed else -1)

    def attempts(self, trial: Trial) -> int:
        asked = self.asked(trial)
        return asked.attempt if asked else 0

    def search_state(self) -> SearchState | None:
        return self._read(read_search, self.files.search)

    def finish(self, record: Record) -> None:
        """Written last: all else that the trial left is where the run is kept before it."""
        if self.mirror:
            self.mirror.push(lambda name: is_of_trial(name, record.trial_id))
        self.write(self.files.trial(record.trial_id).record, record.model_dump_json(indent=2))

    def keep_base_scores(self, record: Record) -> None:
        """Copy the base model's scores and failures here from the cache, where the worker found or left them."""
        name = record.provenance.get("base_scores")
        if name:
            measured, here = ScoreFiles(cache.root() / "base_scores" / str(name)), self.files.base
            pairs = [(getattr(measured, kind), getattr(here, kind)) for kind in ("questions", "failures", "scores")]
            for source, target in pairs:
                self.write(target, source.read_text(encoding="utf-8"))

    def progress(self, trial: Trial) -> int:
        """The last step that a running trial's trunk has logged, 0 before the first."""
        path = self.files.trial(trial.id).metrics
        if self.mirror:
            self.mirror.fetch(self.files.name(path), every_seconds=LOOK_SECONDS)
        try:
            text = path.read_text()
            trunk = [line for line in map(json.loads, text.splitlines()) if "horizon" not in line]
            return int(trunk[-1]["step"])
        except (OSError, IndexError, ValueError):
            return 0  # not begun, or a line half written

    def ingredients(self) -> Ingredients | None:
        """What the trials are made from; None before it was prepared, and for a replayed study."""
        return self._read(read_ingredients, self.files.ingredients)

    def _read(self, read: Callable[[Path], Content], path: Path) -> Content:
        """Read a file; an error names it where the run is kept."""
        try:
            return read(path)
        except InputError as error:
            raise type(error)(str(error).replace(str(path), self.shown(path))) from None

    def keep_ingredients(self, new: Ingredients) -> None:
        """Raises InputError where finished trials were made from something else under the same name."""
        old = self.ingredients()
        changed = [name for name, value in new.fingerprints().items() if old and old.fingerprints()[name] != value]
        if changed and self.files.records():
            raise InputError(
                f"{self.address}: the content of {', '.join(changed)} is not what its finished trials were made from; "
                f"put it back, or give the study another name for a new run"
            )
        self.write(self.files.ingredients, new.model_dump_json(indent=2))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver, and leave what it writes where the run is kept.

        Raises InputError naming who holds it.
        """
        with self.held():
            self.refresh()
            try:
                yield
            finally:
                self.share()

    def refresh(self, trial: Trial | None = None) -> None:
        """Have here what others wrote: of a trial its record, else all of the run but what its trials log and keep."""
        self.fetch(is_read_by_drivers, f"{TRIALS}/{trial.id}/" if trial else "")

    def share(self) -> None:
        """Put what was made of the run here where it is kept; its trials are their workers' to put."""
        self.put(lambda name: not name.startswith(f"{TRIALS}/"))

    def finished(self, trial: Trial) -> Record | None:
        """The record of a trial whose worker says that it wrote one: shared storage may show it late."""
        for _ in range(LATE_SECONDS):
            self.refresh(trial)
            if (record := self.record(trial)) and record.status is not Status.FAILED:
                return record  # a failed one is of an earlier attempt
            time.sleep(1)
        return self.record(trial)

    def code_sha256(self) -> str | None:
        """Of the staged code, as `provenance.json` has it."""
        path = self.files.provenance
        return json.loads(path.read_text())["code_sha256"] if path.exists() else None

    def stage_code(self) -> str:
        """Copy our packages beside the data, for workers to run; returns the sha256 of what was copied."""
        return copy_code(self.files.code)

    def keep_provenance(self, code_sha256: str) -> None:
        self.write(self.files.provenance, json.dumps(provenance(code_sha256), indent=2))


@contextlib.contextmanager
def at_worker(address: str, trial: Trial) -> Iterator[Run]:
    """The run as the worker of a trial has it: where it is kept on an object store, in a folder of its own that is put
    there every so often, and at the end.
    """
    if not is_remote(address):
        yield Run(address)
        return
    with tempfile.TemporaryDirectory(prefix="almr-trial-") as scratch_folder:
        run = Run(address, Path(scratch_folder) / "run")
        mirror, own = run.mirror, f"{TRIALS}/{trial.id}/"
        assert mirror
        mirror.fetch(*map(run.files.name, (run.files.study, run.files.ingredients, run.files.provenance)))
        mirror.pull(own)
        run.trial_folder(trial).mkdir(parents=True, exist_ok=True)
        note = f"{TRIALS}/{note_name(run.study())}"
        mirror.fetch(note)

        def wanted(name: str) -> bool:
            return name == note or (name.startswith(own) and not name.endswith(f"/{RECORD}"))

        with mirror.pushing(PUSH_SECONDS, wanted):
            yield run
