"""Which trial to run next: the grid's cells without a record, or what a search proposes from the records so far.

Proposal number k of a search is a function of the outcomes of the trials up to number k - n, where n trials run in
parallel: later trials count as running even if they have ended. So the order in which trials end changes nothing, and
a run that was killed continues with the same proposals. The exception is a trial that takes far longer than the others:
no slot waits for it (analysis.search.turns).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from threadpoolctl import threadpool_limits

from sweep.store.run import Run
from sweep.study import MINIMUM_TRIALS, Proposed, Status, Study, Trial
from sweep.study.files.atomic import write_atomically
from sweep.study.ingredients import SearchState
from sweep.study.record import TrialRequest
from sweep.trials.budget import Budget
from sweep.trials.progress import RunProgress
from sweep.trials.running import FAILURES, RunningTrials
from sweep.trials.search_data import grown_space, search_context

if TYPE_CHECKING:
    from analysis.search.propose import Proposal


PATIENCE = 600.0  # seconds for which any trial is waited: an idle slot costs little then, and the search is repeatable


class Turn(Enum):
    WAIT = "a trial has to end first"
    DONE = "nothing more to run"


class GridQueue(RunningTrials):
    """The cells of a grid that have no record, those that failed before last: then, where the search's bounds allow,
    cells beyond its edges.
    """

    def __init__(self, study: Study, run: Run, left: Iterable[Trial], at_once: int) -> None:
        super().__init__(study, run, at_once)
        self.left = sorted(left, key=lambda trial: run.record_written(trial) is not None)

    def next(self) -> Trial | Turn:
        """The trial to start now. It counts as running until `ended`; a new proposal is written to the run."""
        if len(self.running) >= self.at_once:
            return Turn.WAIT
        if self.fault:
            return Turn.WAIT if self.running else Turn.DONE
        if not self.left and not self.running:
            self.left = self._beyond()
            self._write_requests(self.left)
        if not self.left:
            return Turn.WAIT if self.running else Turn.DONE
        return self._started(self.left.pop(0))

    def finished(self) -> bool:
        """Whether nothing is left to run. Writes nothing and changes nothing, here or in the run."""
        return not self.left and not self.running and not self._beyond()

    def _beyond(self) -> list[Trial]:
        """New trials beyond the grid's edges, the nearest to the best cell first, within bounds and budget."""
        progress = RunProgress.of(self.study, self.run)
        known, room = progress.trials, (self.study.search.trials or 0) - progress.own
        if not self.study.search.bounds or room <= 0:
            return []
        with _one_thread():
            from analysis.search.growth import best_cell

            context, seeds = search_context(self.run, self.study), self.study.grid.seeds
            more = grown_space(context, self.study)
            cells = [Trial(almr=almr, lr=lr, seed=seed) for almr, lr in more.cells for seed in seeds]
            new = [trial for trial in cells if trial not in known]
            if not new:
                return []
            best = more.unit(*best_cell(context))
            return sorted(new, key=lambda t: float(((more.unit(t.almr, t.lr) - best) ** 2).sum()))[:room]

    def _write_requests(self, trials: list[Trial]) -> None:
        first = len(RunProgress.of(self.study, self.run).trials)
        for k, trial in enumerate(trials, start=first):
            self.run.write_request(trial, self.study, Proposed(index=k, why="grown"))


class _Stop(NamedTuple):
    """The end of a search. `reason` is None where its budget is spent. `waits`: running trials may still change it."""

    reason: str | None
    waits: bool = False


class SearchQueue(RunningTrials):
    """The proposals of a search, `at_once` trials in parallel, until its budget is spent or its tolerance is met."""

    def __init__(
        self,
        study: Study,
        run: Run,
        at_once: int,
        expected: float | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`expected`: GPU-hours of a trial, for as long as none has ended. `seconds`: a clock."""
        super().__init__(study, run, at_once)
        self.expected, self.seconds = expected, seconds
        self.starts, self.durations = dict[Trial, float](), list[float]()
        self.requests = run.proposals(study)
        self.again = run.left(request.trial for request in self.requests)
        self.stopped: _Stop | None = None

    def next(self) -> Trial | Turn:
        if len(self.running) >= self.at_once:
            return Turn.WAIT
        if self.fault:
            return Turn.WAIT if self.running else Turn.DONE
        if self.again:
            return self._started(self.again.pop(0))
        step = self.stopped or self._step()
        if step is None:
            return Turn.WAIT
        if isinstance(step, _Stop):
            self.stopped = step
            self._write_state(step)
            return Turn.DONE
        return self._started(self._write_request(step))

    def ended(self, trial: Trial) -> None:
        super().ended(trial)
        self.durations.append(self.seconds() - self.starts.pop(trial))

    def _started(self, trial: Trial) -> Trial:
        self.starts[trial] = self.seconds()
        return super()._started(trial)

    def finished(self) -> bool:
        return not self.again and not self.running and isinstance(self._step(), _Stop)

    @property
    def _own(self) -> int:
        """The trials that count against the budget: not those that the user named beside the search's."""
        return sum(not request.also for request in self.requests)

    @property
    def _number(self) -> int:
        """The number of the next proposal."""
        return 1 + max((request.proposed.index for request in self.requests if request.proposed), default=-1)

    def _step(self) -> Proposal | _Stop | None:
        """The next proposal, or the end of the search; None where a running trial has to end first."""
        if end := self._ended():
            return None if end.waits and self.running else end
        older = [r for r in self.requests if r.proposed and r.proposed.index <= self._number - self.at_once]
        if any(request.trial in self.running and not self._late(request.trial) for request in older):
            return None
        usable = [request for request in older if request.trial not in self.running]
        with _one_thread():
            step = self._propose(usable)
            if step is None and not self.running:
                step = self._propose(self.requests)
        return step

    def _late(self, trial: Trial) -> bool:
        from analysis.search.turns import overdue

        start, now = self.starts[trial], self.seconds()
        return bool(self.durations) and now > max(overdue(start, self.durations), start + PATIENCE)

    def _ended(self) -> _Stop | None:
        """The end of a search whose budget does not pay for one more trial, or whose trials all fail, for a cause that
        is not theirs, such as a model that fits no GPU.
        """
        own = [request.trial for request in self.requests if not request.also]
        begun = {*self.running, *self.again}
        records = [record for trial in own if trial not in begun and (record := self.run.record(trial))]
        budget = Budget.of(self.study, records, len(own) - len(records), self.expected)
        if budget and budget.more == 0 and own:  # an estimate alone forbids not the first
            return _Stop(None, waits=budget.unit != "trials")
        last = records[-max(FAILURES, self.at_once) :]
        if len(last) >= FAILURES and all(record.status is Status.FAILED for record in last):
            return _Stop(f"the last {len(last)} trials failed: {last[-1].reason}", waits=True)
        return None

    def _propose(self, usable: list[TrialRequest]) -> Proposal | _Stop | None:
        """Propose from the outcomes of the `usable` requests.

        None where no cell is free, but the search may still grow once the other outcomes are used.
        """
        from analysis.search.ask import ask

        hidden = {request.trial for request in self.requests} - {request.trial for request in usable}
        search = self.study.search
        context = replace(search_context(self.run, self.study, hidden), index=self._number, at_once=self.at_once)
        if search.bounds:
            context = replace(context, space=grown_space(context, self.study))
        if not context.free.cells:
            return None if hidden and search.bounds else _Stop(f"all {len(context.space.cells)} cells were run")
        proposal = ask(search.strategy, context)
        return self._converged(proposal, complete=int(context.table["excluded"].isna().sum())) or proposal

    def _converged(self, proposal: Proposal, complete: int) -> _Stop | None:
        loss = proposal.launch_loss
        if loss is None or loss >= self.study.search.tolerance or complete < MINIMUM_TRIALS:
            return None
        return _Stop(f"a launch of the best trial is expected to lose {loss:.1e} nats, under search.tolerance")

    def _write_request(self, proposal: Proposal) -> Trial:
        trial = Trial(almr=proposal.almr, lr=proposal.lr, seed=self.study.grid.seeds[0])
        why = Proposed(index=self._number, why=proposal.why, launch_loss=proposal.launch_loss)
        self.requests.append(self.run.write_request(trial, self.study, why, self.run.attempts(trial)))
        return trial

    def _write_state(self, stop: _Stop) -> None:
        state = SearchState(
            strategy=self.study.search.strategy,
            budget=self.study.search.limit,
            unit=self.study.search.unit or "trials",
            asked=self._own,
            stopped=stop.reason,
            at_once=self.at_once,
        )
        write_atomically(self.run.files.search, state.model_dump_json(indent=2))


Queue = GridQueue | SearchQueue


def _one_thread() -> threadpool_limits:
    """Limit numpy to one thread: for small matrices more are slower, and their number would change the last digits of
    a proposal, so a resumed search.
    """
    import analysis.search.ask  # noqa: F401  # only libraries that are loaded are limited

    return threadpool_limits(1)
