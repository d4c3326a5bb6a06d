"""The commands that resume a run, and that run the trials which its fit suggests."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from analysis.fit_file.findings import Finding
from sweep.store.run import Run
from sweep.study import Study, Trial
from sweep.study.record import MOST_SEED
from sweep.trials import also
from sweep.trials.also import NamedPoint
from sweep.trials.progress import RunProgress
from sweep.verbs.options import RUNS

IN_A_TABLE = "to use the suggested trials: run them with your trainer, add their rows to the table, then fit it again"


class Rerun(NamedTuple):
    """The command that runs a run's study again, and its number of trials `left`.

    `first`: what has to be done before; usually empty. `seeds`: of each point of the grid; `tried`: the run's trials.
    `replays`: the study, where it answers trials from a table.
    """

    command: str
    first: str = ""
    left: int = 0
    seeds: int = 1
    tried: tuple[Trial, ...] = ()
    replays: Study | None = None

    def running(self, points: Iterable[tuple[float, float]]) -> tuple[str, int]:
        """The command that runs trials at these points, and their number: each seed of the study; of a point that was
        tried, one seed more.
        """
        named = [self._untried(almr, lr) for almr, lr in points]
        count = sum(self.seeds if point.seed is None else 1 for point in named)
        return f"{self.command} --also {also.written(named)}", count

    def can_run(self, almr: float, lr: float) -> bool:
        """Whether each trial at this point can be run: a replay runs those that its table has."""
        from trainers.trials import recorded  # with pandas, which other commands do without

        point = self._untried(almr, lr)
        return self.replays is None or all(recorded.has(self.replays, trial) for trial in point.trials(self.replays))

    def _untried(self, almr: float, lr: float) -> NamedPoint:
        seeds = {trial.seed for trial in self.tried if (trial.almr, trial.lr) == (almr, lr)}
        if not seeds:
            return NamedPoint(almr, lr)
        above = range(1 + max(seeds), MOST_SEED + 1)
        return NamedPoint(
            almr, lr, next(seed for seed in itertools.chain(above, itertools.count()) if seed not in seeds)
        )


def of(run: Run, given: str | None = None, address: str | None = None) -> Rerun:
    """How to run a run's study again: with the study file that the user gave, else with its copy in the run directory.

    A run is found by its study's name: a run directory that was renamed has to get that name back.
    """
    loaded = run.study()
    here, (runs, _, folder), name = Path.cwd(), run.address.rpartition("/"), loaded.name
    path = run.files.study if run.mirror else Path(runs, name, run.files.study.name)
    copy = str(path.relative_to(here) if path.is_relative_to(here) else path)
    study = given if given and Path(given).is_file() else copy
    elsewhere = run.mirror is not None or Path(runs) != Path(RUNS).resolve()
    options = [*(["--runs", runs] if elsewhere else []), *(["--address", address] if address else [])]
    progress = RunProgress.of(loaded, run)
    return Rerun(
        command=shlex.join(["almr", "run", study, *options]),
        first=f"rename {run.address} to {name}, the name of its study, then: " if folder != name else "",
        left=progress.remaining,
        seeds=len(loaded.grid.seeds),
        tried=tuple(record.trial for record in progress.records),
        replays=loaded if loaded.replay else None,
    )


def suggestion(refusals: list[Finding], warnings: list[Finding], again: Rerun | None) -> list[str]:
    """How to run the trials that are left, else those that the refusals, else the warnings, suggest: one line or none.

    `again` is None for a user's own table. A replay cannot run what its table lacks.
    """
    if again and again.left:
        return [f"to run the trials that are left ({again.left}): {again.first}{again.command}"]
    points = dict.fromkeys((trial.almr, trial.lr) for finding in refusals or warnings for trial in finding.next)
    if not points or again is None:
        return [IN_A_TABLE] if points else []
    known = [point for point in points if again.can_run(*point)]
    if not known:
        return ["the suggested trials are not in the table that this run replays: train the study without replay"]
    command, count = again.running(known)
    return [f"to run the suggested trials ({count}): {again.first}{command}"]
