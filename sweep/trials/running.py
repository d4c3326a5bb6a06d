"""The trials of a queue that run now, and whether the rest is worth starting: one cause may fail them all."""

from __future__ import annotations

from analysis.table import lost
from sweep.store.run import Run
from sweep.study import Status, Study, Trial
from sweep.trials.progress import RunProgress

FAILURES = 5  # in a row, or as many as run in parallel: then the others would fail as well


class RunningTrials:
    """At most `at_once` trials at a time."""

    def __init__(self, study: Study, run: Run, at_once: int) -> None:
        self.study, self.run, self.at_once = study, run, at_once
        self.running = set[Trial]()
        self.new = set[Trial]()  # those of this session that had no record before
        self.causes = dict[Trial, str | None]()
        self.past: list[Trial] = []  # of them, those that have ended, in the order of their ends

    def _started(self, trial: Trial) -> Trial:
        self.running.add(trial)
        if self.run.record_written(trial) is None:
            self.new.add(trial)
        return trial

    def ended(self, trial: Trial) -> None:
        """Note that a trial from `next` has its record, or gets it now."""
        self.running.discard(trial)
        if trial in self.new:
            self.past.append(trial)

    @property
    def fault(self) -> str | None:
        """Why nothing more is started: the last trials all failed on every try, and of one cause. None else.

        A trial that completed or diverged between them is a result, and so this is not their cause. Trials that failed
        in an earlier session do not count: they may have a cause of their own, and come again.
        """
        last = self.past[-max(FAILURES, self.at_once) :]
        causes = {self._cause(trial) for trial in last}
        if len(last) < max(FAILURES, self.at_once) or len(causes) > 1 or None in causes:
            return None
        left, record = RunProgress.of(self.study, self.run).remaining, self.run.record(last[-1])
        reason = lost.shortened((record.reason if record else None) or "no reason recorded")
        return (
            f"{self.run.address}: stopped with {left} trials left: the last {len(last)} failed on every try, all of "
            f"one cause: {reason}: mend it, then run again; log: {self.run.shown(self.run.log(last[-1]))}"
        )

    def _cause(self, trial: Trial) -> str | None:
        """As of a record that is read once: Tune asks for trials ten times a second."""
        if trial not in self.causes and (record := self.run.record(trial)):
            failed = record.status is Status.FAILED
            self.causes[trial] = lost.cause(record.reason or "") if failed else None
        return self.causes.get(trial)
