"""A run as a study in an Optuna storage on SQLite, which optuna-dashboard shows: written whole, or as it goes on.

One process writes: the driver, which holds the run's lock, or `almr export`. Each trial becomes visible as a whole, by
one transaction. A trial is found again by its user attribute, so that none is there twice.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.store.run import Run
from sweep.study import InputError, Record, Study, Trial
from sweep.study.errors import one_line
from sweep.study.sections.resources import SQLITE
from sweep.trials.followers.optuna import rows, trials
from sweep.trials.followers.optuna.trials import TRIAL_ID

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

INTERRUPTED = "interrupted"
NOT_IN_URLS = "?%"  # SQLAlchemy would open another file: the path as far as to there, or with other letters
BUSY_SECONDS = 30  # that a writer waits for others, such as a dashboard that reads


def refuse_unopenable(path: str | Path) -> None:
    """Raises InputError for a path that no address of Optuna's names."""
    if cut := [letter for letter in NOT_IN_URLS if letter in str(path)]:
        raise InputError(f"{path}: Optuna's addresses of files take no {cut[0]}: name a folder without it by --out")


@contextlib.contextmanager
def refused(url: str) -> Iterator[None]:
    """Raises InputError for what the database cannot do, such as a file that is none."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        why = one_line(error.__cause__ or error, most=150)
        raise InputError(
            f"{url.removeprefix(SQLITE)}: not written as an Optuna storage ({why}): delete it, or name another file"
        ) from None


class OptunaStorage:
    """The study of a run in a storage. Raises InputError where the storage has another run's study of that name."""

    def __init__(self, url: str, study: Study, run: Run) -> None:
        import optuna

        refuse_unopenable(url.removeprefix(SQLITE))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        Path(url.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        with refused(url):
            self._open(url, study, run)

    def _open(self, url: str, study: Study, run: Run) -> None:
        import optuna

        self.study, self.run = study, run
        self.storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})
        self.made = optuna.create_study(
            storage=self.storage, study_name=study.name, direction="minimize", load_if_exists=True
        )
        self.number = self.storage.get_study_id_from_name(study.name)
        self._claim(url)
        found = self.made.get_trials(deepcopy=False)
        self.known: dict[str, FrozenTrial] = {t.user_attrs[TRIAL_ID]: t for t in found if TRIAL_ID in t.user_attrs}

    def _claim(self, url: str) -> None:
        """A run that was moved has the recipe that it had."""
        own = {"run": self.run.address, "fingerprint": self.study.fingerprint}
        there = self.made.user_attrs
        if there and not any(there.get(name) == value for name, value in own.items()):
            raise InputError(
                f"{url}: has a study {self.study.name} of another run, {there.get('run', 'unknown')}: name another file"
            )
        self.describe({**own, "base_model": self.study.base_model.pretrained or self.study.base_model.embedded})
        with warnings.catch_warnings(action="ignore"):  # it is called experimental since version 3.2
            self.made.set_metric_names(["objective"])

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Set user attributes of the study, where they are not so already."""
        there = self.made.user_attrs
        for name, value in facts.items():
            if there.get(name) != value:
                self.made.set_user_attr(name, value)

    def begin(self, trial: Trial) -> None:
        """Show a trial as running."""
        known = self.known.get(trial.id)
        if known is None:
            self._add(trial.id, trials.of_start(self.study, trial))
        elif known.state.is_finished():
            self._replace(trial.id, known, trials.of_start(self.study, trial))

    def sync(self, records: Iterable[Record]) -> None:
        """Have these records, and no other content of their trials."""
        for record in records:
            wanted, known = trials.of_record(self.study, self.run, record), self.known.get(record.trial_id)
            if known is None:
                self._add(record.trial_id, trials.of_start(self.study, record.trial))
                self._replace(record.trial_id, self.known[record.trial_id], wanted)
            elif not known.state.is_finished() or not _same(known, wanted):
                self._replace(record.trial_id, known, wanted)

    def interrupt(self) -> None:
        """No trial runs any more: those that did failed, until they are run again."""
        from optuna.trial import TrialState

        for identity, trial in list(self.known.items()):
            if not trial.state.is_finished():
                self.storage.set_trial_user_attr(trial._trial_id, "status", INTERRUPTED)
                self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                self._note(identity, self.storage.get_trial(trial._trial_id), trial._trial_id)

    def unsafe(self) -> None:
        """Do not wait for the disk: for a file that only counts once it is whole."""
        with self.storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous = OFF")

    def close(self) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _add(self, identity: str, trial: FrozenTrial) -> None:
        self._note(identity, trial, self.storage.create_new_trial(self.number, template_trial=trial))

    def _replace(self, identity: str, known: FrozenTrial, wanted: FrozenTrial) -> None:
        rows.replace(self.storage.engine, known._trial_id, wanted)
        self._note(identity, wanted, known._trial_id)

    def _note(self, identity: str, trial: FrozenTrial, number: int) -> None:
        trial._trial_id = number
        self.known[identity] = trial


def _same(known: FrozenTrial, wanted: FrozenTrial) -> bool:
    return all(getattr(known, name) == getattr(wanted, name) for name in ("state", "values", "params", "user_attrs"))
