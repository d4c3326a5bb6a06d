"""Which trial next: the grid's points that are left, or what a search proposes from the records so far.

A search's proposal number k is a function of the outcomes of the trials up to number k - n, where n run at once: later
ones count as in flight even if they have ended. So the order in which trials happen to end changes nothing, and a run
that was killed goes on with the same proposals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from threadpoolctl import threadpool_limits

from sweep.store.run import Run
from sweep.study.fields import LANGUAGES
from sweep.study.files.atomic import write_atomically
from sweep.study.ingredients import SearchState
from sweep.study.study import MINIMUM_TRIALS, Study
from sweep.study.trial import Proposed, Status, Trial, TrialRequest
from sweep.trials import progress as design

if TYPE_CHECKING:
    import pandas as pd

    from analysis.decision.objectives import Goal
    from analysis.search.propose import Proposal
    from analysis.search.space import Space


class Turn(Enum):
    WAIT = "a trial has to end first"
    DONE = "nothing more to run"


class Queue(Protocol):
    def next(self) -> Trial | Turn: ...

    def ended(self, trial: Trial) -> None:
        """A trial that `next` gave has its record."""


class GridQueue:
    """The points of a grid that have no record, then, where the search's bounds allow, cells beyond its ends."""

    def __init__(self, study: Study, run: Run, left: Iterable[Trial], at_once: int) -> None:
        self.study, self.run, self.at_once = study, run, at_once
        self.left, self.flight = list(left), set[Trial]()

    def next(self) -> Trial | Turn:
        if len(self.flight) >= self.at_once:
            return Turn.WAIT
        if not self.left and not self.flight and self.study.search.bounds:
            with _one_thread():
                self.left = self._beyond()
        if not self.left:
            return Turn.WAIT if self.flight else Turn.DONE
        trial = self.left.pop(0)
        self.flight.add(trial)
        return trial

    def ended(self, trial: Trial) -> None:
        self.flight.discard(trial)

    def _beyond(self) -> list[Trial]:
        from analysis.search.growth import best_cell, grown
        from analysis.search.propose import SearchContext

        table, seed = _table(self.run, self.study), self.study.grid.seeds[0]
        context = SearchContext(table, _goal(self.study, table), _space(self.study, table), seed=seed)
        more = grown(context, self.study.search.reach(self.study.grid), False)
        known = design.progress(self.study, self.run).trials
        new = [trial for cell in more.cells for trial in self._of(cell) if trial not in known]
        room = (self.study.search.trials or 0) - len(known)
        if not new or room <= 0:
            return []
        best = more.unit(*best_cell(context))
        near = sorted(new, key=lambda t: float(((more.unit(t.almr, t.lr) - best) ** 2).sum()))
        return self._asked(near[:room], len(known))

    def _of(self, cell: tuple[float, float]) -> list[Trial]:
        return [Trial(almr=cell[0], lr=cell[1], seed=seed) for seed in self.study.grid.seeds]

    def _asked(self, trials: list[Trial], number: int) -> list[Trial]:
        for k, trial in enumerate(trials, start=number):
            self.run.ask(trial, self.study, Proposed(index=k, why="grown"))
        return trials


class SearchQueue:
    """What a search proposes, `at_once` in flight, until its budget is spent or its tolerance is met (`stopped`)."""

    def __init__(self, study: Study, run: Run, at_once: int) -> None:
        self.study, self.run, self.at_once = study, run, at_once
        self.asked = [a for a in run.all_asked() if a.proposed and study.asks_for(a.almr, a.lr, a.seed)]
        self.again = run.left(a.trial for a in self.asked)
        self.flight: set[Trial] = set()
        self.stopped: str | None = None

    def next(self) -> Trial | Turn:
        if len(self.flight) >= self.at_once:
            return Turn.WAIT
        if self.again:
            return self._started(self.again.pop(0))
        number = 1 + max((a.proposed.index for a in self.asked if a.proposed), default=-1)
        if self.stopped or len(self.asked) >= (self.study.search.trials or 0):
            return self._finished()
        if any(a.trial in self.flight for a in self._known(number)):
            return Turn.WAIT
        with _one_thread():
            proposal = self._propose(number, self._known(number))
            if proposal is None and not self.stopped:  # no cell is free, and those in flight may have the search grow
                if self.flight:
                    return Turn.WAIT
                proposal = self._propose(number, self.asked)
        if proposal is None:
            return self._finished()
        return self._started(self._keep(proposal, number))

    def ended(self, trial: Trial) -> None:
        self.flight.discard(trial)

    def _started(self, trial: Trial) -> Trial:
        self.flight.add(trial)
        return trial

    def _finished(self) -> Turn:
        search = self.study.search
        state = SearchState(
            strategy=search.strategy,
            budget=search.trials or 0,
            asked=len(self.asked),
            stopped=self.stopped,
            at_once=self.at_once,
        )
        write_atomically(self.run.files.search, state.model_dump_json(indent=2))
        return Turn.DONE

    def _known(self, number: int) -> list[TrialRequest]:
        """The proposals whose outcomes proposal `number` may depend on."""
        return [a for a in self.asked if a.proposed and a.proposed.index <= number - self.at_once]

    def _propose(self, number: int, outcomes: list[TrialRequest]) -> Proposal | None:
        """None where no cell is free; `stopped` then says so, unless more outcomes may have the search grow."""
        from analysis.search.ask import ask
        from analysis.search.growth import grown
        from analysis.search.propose import SearchContext

        known = {a.trial for a in outcomes}
        hidden = {a.trial for a in self.asked} - known
        table = _table(self.run, self.study, hidden)
        search, grid = self.study.search, self.study.grid
        context = SearchContext(
            table=table,
            goal=_goal(self.study, table),
            space=_space(self.study, table),
            pending=sorted((trial.almr, trial.lr) for trial in hidden),
            index=number,
            curve=search.curve,
            seed=grid.seeds[0],
        )
        if search.bounds:
            context = replace(context, space=grown(context, search.reach(grid), search.space == "range"))
        if not context.free.cells:
            self.stopped = None if hidden and search.bounds else f"all {len(context.space.cells)} cells were run"
            return None
        proposal = ask(search.strategy, context)
        self.stopped = self._why_stop(proposal, int(table["excluded"].isna().sum()))
        return None if self.stopped else proposal

    def _why_stop(self, proposal: Proposal, complete: int) -> str | None:
        tolerance, gain = self.study.search.tolerance, proposal.improvement
        if gain is None or gain >= tolerance or complete < MINIMUM_TRIALS:
            return None
        return f"one more trial is expected to improve the best loss by {gain:.1e} nats, under search.tolerance"

    def _keep(self, proposal: Proposal, number: int) -> Trial:
        trial = Trial(almr=proposal.almr, lr=proposal.lr, seed=self.study.grid.seeds[0])
        why = Proposed(index=number, why=proposal.why, improvement=proposal.improvement)
        self.run.ask(trial, self.study, why, self.run.attempts(trial))
        asked = self.run.asked(trial)
        assert asked, "it was just written"
        self.asked.append(asked)
        return trial


def _one_thread() -> threadpool_limits:
    """Small matrices: more threads are slower, and their number would change last digits, so a resumed search."""
    import analysis.search.ask  # noqa: F401  # only what is loaded is limited

    return threadpool_limits(1)


def _table(run: Run, study: Study, hidden: Iterable[Trial] = ()) -> pd.DataFrame:
    """The outcomes of the study's trials, less the hidden ones; of a search, those of its seed.

    A trial of an earlier grid that failed is none: nobody retries it, so that a search may ask for it again.
    """
    from analysis.table import table as tables

    asked = [a for a in run.all_asked() if study.asks_for(a.almr, a.lr, a.seed)]
    known = {*design.trials(study), *(a.trial for a in asked)} - set(hidden)
    retried = {a.trial for a in asked if a.proposed}
    found = [record for trial in known if (record := run.record(trial))]
    records = [record for record in found if record.status is not Status.FAILED or record.trial in retried]
    # Where no trial has a loss, its column has no type of its own.
    return tables.from_records(records).astype({f"loss_{name}": float for name in LANGUAGES})


def _goal(study: Study, table: pd.DataFrame) -> Goal:
    from analysis.decision import objectives

    if (table["status"] == Status.COMPLETE.value).any():
        return objectives.goal(study.objective, table)
    return objectives.WeightedGoal(study.objective.shares)  # a guard is not known before the first record


def _space(study: Study, table: pd.DataFrame) -> Space:
    """The cells of the grid, or its range, and as far beyond as trials have been."""
    from analysis.search.space import Space

    grid = study.grid
    almrs, lrs = _and_beyond(grid.almr, table["almr"]), _and_beyond(grid.lrs, table["lr"])
    if study.search.space == "range" and study.search.proposes:
        return Space.range((min(almrs), max(almrs)), (min(lrs), max(lrs)))
    return Space.grid(almrs, lrs)


def _and_beyond(values: tuple[float, ...], tried: Iterable[float]) -> set[float]:
    return {*values, *(x for x in tried if not min(values) <= x <= max(values))}
