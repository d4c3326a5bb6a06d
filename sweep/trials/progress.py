"""The progress of a run. Starts nothing and imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.store.run import Run
from sweep.study import Record, Study, Trial


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run. `trials` are all known trials: the grid's points, or a search's proposals so far. `left`
    are those without a result, `total` is the largest number of trials, and `ended` the reason why a search stopped.
    """

    trials: list[Trial]
    left: list[Trial]
    total: int
    records: list[Record]
    ended: str | None = None

    @staticmethod
    def of(study: Study, run: Run) -> RunProgress:
        """Read the progress from the files of the run."""
        proposed = [request.trial for request in run.proposals(study)]
        every = proposed if study.search.proposes else list(dict.fromkeys([*study.grid_trials, *proposed]))
        total = max(len(every), _most(study)) if study.search.proposes else len(every)
        records = [record for trial in every if (record := run.record(trial))]
        state = run.search_state() if study.search.proposes else None
        same = state is not None and (state.asked, state.strategy) == (len(proposed), study.search.strategy)
        ended = state.stopped if state and same else None
        return RunProgress(trials=every, left=run.left(every), total=total, records=records, ended=ended)

    @property
    def to_run(self) -> int:
        """Upper bound: a search that stopped early is checked again when the run resumes."""
        return len(self.left) + self.total - len(self.trials)

    @property
    def remaining(self) -> int:
        """Trials left to run; of a search that stopped early, only those without a result."""
        return len(self.left) if self.ended else self.to_run

    @property
    def settled(self) -> list[Record]:
        """The records of trials that will not run again."""
        left = set(self.left)
        return [record for record in self.records if record.trial not in left]

    @property
    def text(self) -> str:
        return f"{self.total} trials, {self.to_run} to run"


def _most(study: Study) -> int:
    """The budget of a search, or the number of cells that it may try, if smaller."""
    search = study.search
    bounded = search.space == "cells" and search.bounds is None
    return min(search.trials or 0, len(study.grid.points)) if bounded else search.trials or 0
