"""The run directory, and the only module that knows its layout: what was asked, what is done, what is left."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pydantic

from sweep import study_file
from sweep.study import InputError, Study
from sweep.trial import Asked, Ingredients, Proposed, Record, SearchState, Status, Trial
from trainers.cache import root as cache_root

PACKAGES = ("sweep", "trainers", "analysis")
VERSIONED = ("almr-sweep", "torch", "transformers", "datasets", "ray", "numpy", "pandas", "scikit-learn", "scipy")


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part, also after a crash of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


class Run:
    """One run directory. Reading never changes it; a trial is done when its `record.json` stands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.study_file = self.folder / "study.yaml"
        self.code = self.folder / "code"
        self.ingredients_file = self.folder / "ingredients.json"
        self.launch = self.folder / "launch"
        self.search_file = self.folder / "search.json"

    @staticmethod
    def find(name: str, runs: Path) -> Run:
        """An existing run by its folder or its name under `runs`. Raises InputError where there is none."""
        for folder in (Path(name), runs / name):
            if (folder / "study.yaml").is_file():
                return Run(folder)
        raise InputError(f"{name}: no run here or in {runs}/ (a run is a folder with study.yaml); start one: almr run")

    def study(self) -> Study:
        return study_file.load(self.study_file)

    def freeze(self, study: Study) -> None:
        """Keep the study with its run; a grown grid is taken."""
        self.refuse_other_recipe(study)
        write_atomically(self.study_file, study_file.dump(study))

    def refuse_other_recipe(self, study: Study) -> None:
        """Raises InputError where this run's trials were made by another recipe, with the fields that changed."""
        if self.study_file.exists() and (changes := study_file.changed_fields(self.study(), study)):
            raise InputError(
                f"{self.folder}: holds trials of another recipe ({'; '.join(changes)}); "
                f"undo that in the study, or give the study another name for a new run"
            )

    def trial_folder(self, trial: Trial) -> Path:
        return self.folder / "trials" / trial.id

    def record(self, trial: Trial) -> Record | None:
        """The finished record of a trial, or None. An unreadable one is an InputError: it is never overwritten."""
        path = self.trial_folder(trial) / "record.json"
        try:
            return Record.model_validate_json(path.read_text())
        except FileNotFoundError:
            return None
        except pydantic.ValidationError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not a record ({reason}); delete it to have the trial run again") from None

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
        asked = Asked(**trial.model_dump(), fingerprint=study.fingerprint, attempt=attempt, proposed=proposed)
        write_atomically(self.trial_folder(trial) / "trial.json", asked.model_dump_json(indent=2))

    def asked(self, trial: Trial) -> Asked | None:
        return _asked(self.trial_folder(trial) / "trial.json")

    def all_asked(self) -> list[Asked]:
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
        write_atomically(self.trial_folder(record.trial) / "record.json", record.model_dump_json(indent=2))

    def keep_base_scores(self, record: Record) -> None:
        """`base/`: what the base model scored, from the cache that the trial's worker found or left it in."""
        name = record.provenance.get("base_scores")
        if name and record.scores:
            measured = cache_root() / "base_scores" / str(name)
            for file in ("questions.json", "scores.json"):
                write_atomically(self.folder / "base" / file, (measured / file).read_text(encoding="utf-8"))

    def progress(self, trial: Trial) -> int:
        """The last step that a running trial's trunk has logged, 0 before the first."""
        try:
            text = (self.trial_folder(trial) / "metrics.jsonl").read_text()
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
            raise InputError(f"{self.ingredients_file}: not readable; delete it and run the study again") from None

    def keep_ingredients(self, new: Ingredients) -> None:
        """Raises InputError where finished trials were made from something else under the same name."""
        old = self.ingredients()
        changed = [name for name, value in new.fingerprints().items() if old and old.fingerprints()[name] != value]
        if changed and any(self.folder.glob("trials/*/record.json")):
            raise InputError(
                f"{self.folder}: the content of {', '.join(changed)} is not what its finished trials were made from; "
                f"put it back, or give the study another name for a new run"
            )
        write_atomically(self.ingredients_file, new.model_dump_json(indent=2))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver; the lock ends with the process. Raises InputError naming who holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise InputError(f"{self.folder}: {lock.read() or 'another process'} is running this study") from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield

    def code_sha256(self) -> str | None:
        """Of the staged code, as `provenance.json` has it."""
        path = self.folder / "provenance.json"
        return json.loads(path.read_text())["code_sha256"] if path.exists() else None

    def stage_code(self) -> str:
        """Copy our packages beside the data, for workers to run; returns the sha256 of what was copied."""
        shutil.rmtree(self.code, ignore_errors=True)
        for package in PACKAGES:
            source = Path(__file__).parents[1] / package
            shutil.copytree(source, self.code / package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        digest = hashlib.sha256()
        for path in sorted(p for p in self.code.rglob("*") if p.is_file()):
            digest.update(str(path.relative_to(self.code)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def keep_provenance(self, code_sha256: str) -> None:
        content = {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
            "git": _git_sha(),
            "code_sha256": code_sha256,
        }
        write_atomically(self.folder / "provenance.json", json.dumps(content, indent=2))


def _git_sha() -> str | None:
    """The commit our code comes from, with `-dirty` where it was changed; None where it is not a checkout."""
    # An installed copy may lie inside somebody else's checkout: only a tracked file speaks for ours.
    tracked = _git("ls-files", "--error-unmatch", __file__)
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--match=") if tracked else None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def _asked(path: Path) -> Asked | None:
    """None where it was not asked for, or where the disk was full when it was written."""
    try:
        return Asked.model_validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None
