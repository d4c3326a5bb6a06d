"""A run: its study, whose recipe all its trials have, what they read, and the state of its search."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.store import lock, provenance, temporary
from sweep.store.remote import is_remote
from sweep.store.run_trials import RunTrials
from sweep.store.storage import named
from sweep.study import Ingredients, InputError, Record, Status, Study, Trial, study_file
from sweep.study.files import cache
from sweep.study.files.layout import PARITY, TRIALS, ScoreFiles, is_read_by_drivers
from sweep.study.files.reader import NewerFileError, read_object
from sweep.study.files.trial_files import read_trial
from sweep.study.ingredients import SearchState, read_ingredients, read_search

LATE_SECONDS = 90  # NFS clients may remember for a minute that a file was missing
STARTED = ("study.yaml", "lock.json", "tracking.json", "wandb", "optuna.db", "optuna.db-journal", "live.json")
IF_THE_SAME = "; if the text is the same, state it: --same-text REASON"


class Run(RunTrials):
    """One run directory. Reading never changes it."""

    @staticmethod
    def within(runs: str | Path, name: str) -> Run:
        """The run of this name under `runs`; it need not exist yet."""
        return Run._at(named(runs, name))

    @staticmethod
    def find(name: str, runs: str | Path, damaged: bool = False) -> Run:
        """An existing run by its folder or address, or its name under `runs`; with `damaged`, also one whose study is
        not there. Raises InputError where there is none.
        """
        for address in [name] if is_remote(name) else [name, named(runs, name)]:
            run = Run._at(address)
            if run.files.study.is_file():
                return run
            if any(map(os.path.lexists, (run.files.study, run.files.trials, run.files.fit))):
                if damaged:
                    return run
                fault = "is no file" if os.path.lexists(run.files.study) else "is missing"
                raise InputError(f"{run.shown(run.files.study)}: {fault}: copy the study file of this run there")
            if stages := _stages(run):
                raise InputError(f"{name}: is a chain, whose stages are runs: name one of {', '.join(stages)}")
        if Path(name).exists():
            raise InputError(f"{name}: not a run (a run is a folder with study.yaml)")
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
        same = self.files.study.exists() and self.study() == study  # it may be the user's own, with its comments
        if self.mirror or not same:  # one that is here may not have come to the store
            self.write(self.files.study, study_file.dump(study))

    def refuse_foreign(self) -> None:
        """Raises InputError where the folder is there and is no run's: what it holds would be replaced by files of the
        same names. A run that ended as it began, by a kill or a fault of its preparation, has no more than STARTED.
        """
        files = self.files
        if any(map(os.path.lexists, (files.ingredients, files.provenance, files.trials))) or not files.folder.is_dir():
            return
        code = () if provenance.foreign(files.code) else (files.code.name,)
        held = sorted(path.name for path in files.folder.iterdir() if not path.name.startswith("."))
        if name := next((name for name in held if name not in (*STARTED, *code)), None):
            raise InputError(f"{self.address}: is no run, and holds {name}: {provenance.AWAY}, or give another --runs")

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
                record = read_trial(path)
                if record.status is not Status.FAILED and record.fingerprint not in known:
                    return record
        return None

    def _stated(self) -> set[str]:
        """The recipes whose text is that of now, as the user stated."""
        made = self.ingredients()
        return made.recipes if made else set()

    def search_state(self) -> SearchState | None:
        """The state of the search. None before it has ended once, and for a broken file: the search writes it anew."""
        try:
            return self._read(read_search, self.files.search)
        except NewerFileError:
            raise
        except InputError:
            return None

    def keep_base_scores(self, record: Record) -> None:
        """Copy the base model's scores and failures from the worker's cache into the run."""
        name = record.provenance.get("base_scores")
        if name:
            measured, here = ScoreFiles(cache.root() / "base_scores" / str(name)), self.files.base
            pairs = [(getattr(measured, kind), getattr(here, kind)) for kind in ("questions", "failures", "scores")]
            for source, target in pairs:
                self.write(target, source.read_text(encoding="utf-8"))

    def ingredients(self) -> Ingredients | None:
        """The prepared model and corpora of the trials; None before they are prepared. Of a replayed study: what
        it states.
        """
        return self._read(read_ingredients, self.files.ingredients)

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

        Raises InputError naming the driver that holds it. What killed processes left in temporary folders is removed.
        """
        temporary.sweep()
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock.held(self.lock_file(), self.address):
            with self.patiently():
                self.refresh()
                self.fetch_late()
            try:
                with self.patiently():
                    yield
                    self.share()
            except BaseException:
                with contextlib.suppress(InputError, OSError):  # what ended the block is what the user is told
                    self.share()
                raise

    def refresh(self, trial: Trial | None = None) -> None:
        """Pull one trial's record or, without `trial`, all files of the run except logs and models of trials."""
        self.pull(is_read_by_drivers, f"{TRIALS}/{trial.id}/" if trial else "")

    def fetch_late(self, trial: Trial | None = None) -> None:
        """Look for the records that a store does not list yet, by name: of one trial, or of all that were begun."""
        if self.mirror:
            begun = [self.files.trial(trial.id)] if trial else self.files.each_trial()
            self.mirror.fetch(*[self.files.name(files.record) for files in begun if not files.record.exists()])

    def share(self) -> None:
        """Push the files of the run, except those of trials, which their workers push, and of parity runs, of which
        only the results are kept.
        """
        self.push(lambda name: not name.startswith((f"{TRIALS}/", f"{PARITY}/")))

    def await_record(self, trial: Trial) -> Record | None:
        """The record of a trial whose worker has written one; shared storage may show it late."""
        for _ in range(LATE_SECONDS):
            self.refresh(trial)
            self.fetch_late(trial)
            if (record := self.record(trial)) and record.status is not Status.FAILED:
                return record  # a failed one is from an earlier attempt
            time.sleep(1)
        return self.record(trial)

    def code_sha256(self) -> str | None:
        """The sha256 of the staged code, from `provenance.json`; None where that is missing or broken."""
        found = (read_object(self.files.provenance) or {}).get("code_sha256")
        return found if isinstance(found, str) else None

    def stage_code(self) -> str:
        """Copy our packages into the run, for its workers, and write `provenance.json`; returns the code's sha256."""
        sha256 = provenance.copy_code(self.files.code)
        self.write(self.files.provenance, json.dumps(provenance.provenance(sha256), indent=2))
        return sha256


def _stages(run: Run) -> list[str]:
    """The runs of a chain in this folder; none where there is no chain."""
    planned = (read_object(run.files.chain) or {}).get("planned")
    return [str(name) for name in planned.values()] if isinstance(planned, dict) else []
