"""The progress of a run. Starts nothing and imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweep.store.run import Run
from sweep.study import MINIMUM_TRIALS, Record, Status, Study, Trial
from sweep.study.numbers import count
from sweep.trials.budget import Budget


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run. `trials` are all known trials: the grid's points, or a search's proposals so far, and
    those of `also`, which the user named beside them. `left` are those without a result, `total` is the largest number
    of trials, expected where the budget is another, and `ended` the reason why a search stopped. `budget`: of a search.
    """

    trials: list[Trial]
    left: list[Trial]
    total: int
    records: list[Record]
    ended: str | None = None
    also: Sequence[Trial] = ()
    budget: Budget | None = None

    @staticmethod
    def of(study: Study, run: Run, more: Sequence[Trial] = ()) -> RunProgress:
        """Read the progress from the files of the run. `more`: trials that would be added."""
        requests = run.proposals(study)
        named = [*(request.trial for request in requests if request.also), *more]
        proposed = [*(request.trial for request in requests), *more]
        every = proposed if study.search.proposes else list(dict.fromkeys([*study.grid_trials, *proposed]))
        records = [record for trial in every if (record := run.record(trial))]
        settled = {record.trial for record in records if record.status is not Status.FAILED}
        left = [trial for trial in every if trial not in settled]
        budget = Budget.of(study, [r for r in records if r.trial in settled], len({*left} - {*named}))
        total = _total(study, every, named, budget)
        state = run.search_state() if study.search.proposes else None
        own = len(proposed) - len(named)
        same = state is not None and (state.asked, state.strategy) == (own, study.search.strategy)
        ended = state.stopped if state and same else None
        return RunProgress(every, left, total, records, ended, named, budget)

    def expecting(self, study: Study, each: float | None) -> RunProgress:
        """With the GPU-hours that a trial is expected to take, for as long as none has ended."""
        if self.budget is None or self.budget.unit != "gpu_hours":
            return self
        budget = self.budget.expecting(each)
        return replace(self, budget=budget, total=_total(study, self.trials, self.also, budget))

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
        unknown = self.budget is not None and self.budget.more is None
        return f"{'up to ' if unknown else ''}{count(self.total, 'trial')}, {self.to_run} to run"


def _total(study: Study, every: Sequence[Trial], also: Sequence[Trial], budget: Budget | None) -> int:
    """All trials that there will be at most: those that a search's budget pays for, or the cells that it may try, if
    these are fewer; with those that were named.
    """
    search = study.search
    if budget is None:
        return len(every)
    cells = len(study.grid.points) - len({*study.grid_trials} & {*also})
    own, bounded = len(every) - len(also), search.space == "cells" and search.bounds is None
    unknown = cells if bounded else MINIMUM_TRIALS  # at least, where nothing tells what a trial takes
    most = search.trials or (unknown if budget.more is None else own + budget.more)
    return max(len(every), (min(most, cells) if bounded else most) + len(also))
