"""The progress of a run. Starts nothing and imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.store.run import Run
from sweep.study import Record, Study, Trial


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run. `trials` are all known trials: the grid's points, or a search's proposals so far, and
    those of `also`, which the user named beside them. `left` are those without a result, `total` is the largest number
    of trials, and `ended` the reason why a search stopped.
    """

    trials: list[Trial]
    left: list[Trial]
    total: int
    records: list[Record]
    ended: str | None = None
    also: Sequence[Trial] = ()

    @staticmethod
    def of(study: Study, run: Run, more: Sequence[Trial] = ()) -> RunProgress:
        """Read the progress from the files of the run. `more`: trials that would be added."""
        requests = run.proposals(study)
        named = [*(request.trial for request in requests if request.also), *more]
        proposed = [*(request.trial for request in requests), *more]
        every = proposed if study.search.proposes else list(dict.fromkeys([*study.grid_trials, *proposed]))
        total = max(len(every), _most(study, named)) if study.search.proposes else len(every)
        records = [record for trial in every if (record := run.record(trial))]
        state = run.search_state() if study.search.proposes else None
        own = len(proposed) - len(named)
        same = state is not None and (state.asked, state.strategy) == (own, study.search.strategy)
        ended = state.stopped if state and same else None
        return RunProgress(every, run.left(every), total, records, ended, also=named)

    @property
    def own(self) -> int:
        """How many of the trials are the study's own, which count against the budget of its search."""
        return len(self.trials) - len(self.also)

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


def _most(study: Study, also: list[Trial]) -> int:
    """The budget of a search, or the number of cells that it may try, if smaller; with the trials that were named."""
    search, budget = study.search, study.search.trials or 0
    if search.space == "cells" and search.bounds is None:
        budget = min(budget, len(study.grid.points) - len({*study.grid_trials} & {*also}))
    return budget + len(also)
