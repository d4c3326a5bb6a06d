"""The run directory, and the only module that knows its layout: what was asked, what is done, what is left."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pydantic

from sweep.store.provenance import copy_code, provenance
from sweep.store.remote import is_remote
from sweep.store.storage import RunStorage, named, write_atomically
from sweep.study import study_file
from sweep.study.errors import InputError
from sweep.study.files.cache import root as cache_root
from sweep.study.ingredients import Ingredients, SearchState
from sweep.study.record import Record
from sweep.study.study import Study
from sweep.study.trial import Proposed, Status, Trial, TrialRequest
from trainers.loop.out_of_memory import note_name

__all__ = ["Run", "at_worker", "write_atomically"]
LATE_SECONDS = 90  # NFS clients may remember for a minute that a file was not there
PUSH_SECONDS = 30.0  # a running trial's files
LOOK_SECONDS = 20.0  # a display looks at each


class Run(RunStorage):
    """One run directory. Reading never changes it; a trial is done when its `record.json` stands."""

    def __init__(self, address: str | Path, folder: Path | None = None) -> None:
        super().__init__(address, folder)
        self.study_file = self.folder / "study.yaml"
        self.code = self.folder / "code"
        self.ingredients_file = self.folder / "ingredients.json"
        self.launch = self.folder / "launch"
        self.search_file = self.folder / "search.json"

    @staticmethod
    def within(runs: str | Path, name: str) -> Run:
        """The run of this name among `runs`, which need not exist yet."""
        return Run._at(named(runs, name))

    @staticmethod
    def find(name: str, runs: str | Path) -> Run:
        """An existing run by its folder or address, or its name under `runs`. Raises InputError where there is none."""
        for address in [name] if is_remote(name) else [name, named(runs, name)]:
            if (run := Run._at(address)).study_file.is_file():
                return run
        raise InputError(f"{name}: no run here or in {runs}/ (a run is a folder with study.yaml); start one: almr run")

    @staticmethod
    def _at(address: str | Path) -> Run:
        run = Run(address)
        run.refresh()
        return run

    def study(self) -> Study:
        return study_file.load(self.study_file)

    def freeze(self, study: Study) -> None:
        """Keep the study with its run; a grown grid is taken."""
        self.refuse_other_recipe(study)
        self.write(self.study_file, study_file.dump(study))

    def refuse_other_recipe(self, study: Study) -> None:
        """Raises InputError where this run's trials were made by another recipe, with the fields that changed."""
        if self.study_file.exists() and (changes := study_file.changed_fields(self.study(), study)):
            raise InputError(
                f"{self.address}: holds trials of another recipe ({'; '.join(changes)}); "
                f"undo that in the study, or give the study another name for a new run"
            )

    def trial_folder(self, trial: Trial) -> Path:
        return self.folder / "trials" / trial.id

    def log(self, trial: Trial, rank: int = 0) -> Path:
        """What a rank of the trial printed."""
        return self.trial_folder(trial) / (f"train.rank{rank}.log" if rank else "train.log")

    def record(self, trial: Trial) -> Record | None:
        """The finished record of a trial, or None. An unreadable one is an InputError: it is never overwritten."""
        path = self.trial_folder(trial) / "record.json"
        try:
            return Record.model_validate_json(path.read_text())
        except FileNotFoundError:
            return None
        except pydantic.ValidationError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.shown(path)}: not a record ({reason}); delete it to have the trial run again"
            ) from None

    def record_written(self, trial: Trial) -> int | None:
        """When, in nanoseconds; it changes whenever a record is kept. None where there is none."""
        try:
            return (self.trial_folder(trial) / "record.json").stat().st_mtime_ns
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
        self.write(self.trial_folder(trial) / "trial.json", asked.model_dump_json(indent=2))

    def asked(self, trial: Trial) -> TrialRequest | None:
        return _asked(self.trial_folder(trial) / "trial.json")

    def all_asked(self) -> list[TrialRequest]:
        """Every trial that was ever asked for, a search's in the order of its proposals."""
        found = (_asked(path) for path in sorted(self.folder.glob("trials/*/trial.json")))
        return sorted((a for a in found if a), key=lambda a: a.proposed.index if a.proposed else -1)

    def attempts(self, trial: Trial) -> int:
        asked = self.asked(trial)
        return asked.attempt if asked else 0

    def search_state(self) -> SearchState | None:
        try:
            return SearchState.model_validate_json(self.search_file.read_bytes())
        except (FileNotFoundError, pydantic.ValidationError):
            return None  # not searched yet; it only reports, and is written anew by the next run

    def finish(self, record: Record) -> None:
        """Written last: all else that the trial left is where the run is kept before it."""
        if self.mirror:
            self.mirror.push(lambda name: name.startswith(f"trials/{record.trial.id}/"))
        self.write(self.trial_folder(record.trial) / "record.json", record.model_dump_json(indent=2))

    def keep_base_scores(self, record: Record) -> None:
        """`base/`: the base model's scores and failures, from the cache where the trial's worker found or left them."""
        name = record.provenance.get("base_scores")
        if name:
            measured = cache_root() / "base_scores" / str(name)
            for file in ("questions.json", "failures.json", "scores.json"):
                self.write(self.folder / "base" / file, (measured / file).read_text(encoding="utf-8"))

    def progress(self, trial: Trial) -> int:
        """The last step that a running trial's trunk has logged, 0 before the first."""
        path = self.trial_folder(trial) / "metrics.jsonl"
        if self.mirror:
            self.mirror.fetch(path.relative_to(self.folder).as_posix(), every_seconds=LOOK_SECONDS)
        try:
            text = path.read_text()
            trunk = [line for line in map(json.loads, text.splitlines()) if "horizon" not in line]
            return int(trunk[-1]["step"])
        except (OSError, IndexError, ValueError):
            return 0  # not begun, or a line half written

    def ingredients(self) -> Ingredients | None:
        """What the trials are made from; None before it was prepared, and for a replayed study."""
        if not self.ingredients_file.exists():
            return None
        try:
            return Ingredients.model_validate_json(self.ingredients_file.read_bytes())
        except pydantic.ValidationError:
            raise InputError(
                f"{self.shown(self.ingredients_file)}: not readable; delete it and run the study again"
            ) from None

    def keep_ingredients(self, new: Ingredients) -> None:
        """Raises InputError where finished trials were made from something else under the same name."""
        old = self.ingredients()
        changed = [name for name, value in new.fingerprints().items() if old and old.fingerprints()[name] != value]
        if changed and any(self.folder.glob("trials/*/record.json")):
            raise InputError(
                f"{self.address}: the content of {', '.join(changed)} is not what its finished trials were made from; "
                f"put it back, or give the study another name for a new run"
            )
        self.write(self.ingredients_file, new.model_dump_json(indent=2))

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
        self.fetch(_is_read_by_drivers, f"trials/{trial.id}/" if trial else "")

    def share(self) -> None:
        """Put what was made of the run here where it is kept; its trials are their workers' to put."""
        self.put(lambda name: not name.startswith("trials/"))

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
        path = self.folder / "provenance.json"
        return json.loads(path.read_text())["code_sha256"] if path.exists() else None

    def stage_code(self) -> str:
        """Copy our packages beside the data, for workers to run; returns the sha256 of what was copied."""
        return copy_code(self.code)

    def keep_provenance(self, code_sha256: str) -> None:
        self.write(self.folder / "provenance.json", json.dumps(provenance(code_sha256), indent=2))


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
        mirror, own = run.mirror, f"trials/{trial.id}/"
        assert mirror
        mirror.fetch("study.yaml", "ingredients.json", "provenance.json")
        mirror.pull(own)
        run.trial_folder(trial).mkdir(parents=True, exist_ok=True)
        note = f"trials/{note_name(run.study())}"
        mirror.fetch(note)

        def wanted(name: str) -> bool:
            return name == note or (name.startswith(own) and not name.endswith("/record.json"))

        with mirror.pushing(PUSH_SECONDS, wanted):
            yield run


def _is_read_by_drivers(name: str) -> bool:
    """Of a trial what is fitted, not what it logs and keeps; nor the code, which is staged anew."""
    if name.startswith("trials/"):
        return name.count("/") == 2 and name.endswith(("/trial.json", "/record.json", "/questions.json"))
    return not name.startswith("code/")


def _asked(path: Path) -> TrialRequest | None:
    """None where it was not asked for, or where the disk was full when it was written."""
    try:
        return TrialRequest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None
