"""What a run is doing now, from its files. Files that did not change are not read again."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from operator import itemgetter

from sweep.planning import scoring
from sweep.store import lock
from sweep.store.run import Run
from sweep.study import Study, Trial
from sweep.study.files.layout import RECORD
from sweep.trials import budget
from sweep.trials.progress import RunProgress
from sweep.verbs.live import provisional
from sweep.verbs.live.now import RunningTrial, RunNow, Tally, unheard, written, written_seconds

READ_SHARE = 0.1  # of the time, at most, for reading the records of a large run again and again
SMALL_SECONDS = 0.1  # of the processor: what takes less is read at each look

Stamps = dict[str, tuple[int | None, int | None]]  # of each trial, when its record and its request were written


class RunReader:
    """Looks at a run again and again."""

    def __init__(self, run: Run, study: Study | None = None) -> None:
        self.run, self.study = run, study or run.study()
        self.stamps: Stamps | None = None
        self.rest = 0.0  # no reading before, by the monotonic clock
        self.at_once = 1  # at most so far
        self.scoring = scoring.finalist_seconds(self.study)

    def look(self, told: Collection[str] | None = None) -> RunNow:
        """`told`: the ids of the trials that run, where the driver says them; else the requests tell."""
        self._read_changes()
        last = self.run.last_driver()
        driver = last if last and lock.is_alive(last) else None
        started = [trial for trial in self.begun if told is None or trial.id not in told]
        since = driver.since.timestamp() if driver and told is None else math.inf
        running = {t.id: t for t in started if (at := self._began(t)) is not None and at >= since}
        running |= {trial.id: trial for trial in self.progress.trials if told is not None and trial.id in told}
        self.at_once = max(self.at_once, len(running))
        return RunNow(
            study=self.study,
            tally=self.tally,
            total=self.progress.total,
            left=self.progress.remaining,
            running=[RunningTrial.of(self.run, self.study, trial) for trial in running.values()],
            interrupted=[RunningTrial.of(self.run, self.study, t) for t in started if t.id not in running],
            at_once=self.at_once,
            spent=budget.spent(self.progress.budget),
            launch_loss=self.launch_loss,
            driver=str(driver) if driver else None,
            since=driver.since.timestamp() if driver else math.inf,
            unheard=unheard(last) if told is None else None,
            provisional=provisional.read(self.run),
            after=scoring_after(self.study, self.scoring, self.at_once),
        )

    def _read_changes(self) -> None:
        stamps, began = self._stamps(), time.process_time()
        if stamps == self.stamps or time.monotonic() < self.rest:
            return
        self._read(stamps)
        taken = time.process_time() - began
        self.rest = time.monotonic() + taken / READ_SHARE if taken > SMALL_SECONDS else 0.0

    def _read(self, stamps: Stamps) -> None:
        self.progress = RunProgress.of(self.study, self.run)
        self.tally = Tally(self.study)
        # A trial may begin and end between the two looks.
        ends = [(stamps.get(one.trial_id, (None, None))[0] or 0, one) for one in self.progress.records]
        for ended, record in sorted(ends, key=itemgetter(0)):
            self.tally.add(record, ended / 1e9)
        done = {record.trial_id for record in self.progress.records}
        self.begun: list[Trial] = [t for t in self.progress.trials if t.id not in done and self.run.attempts(t)]
        known = [r.proposed.launch_loss for r in self.run.proposals(self.study) if r.proposed]
        self.launch_loss = next((loss for loss in reversed(known) if loss is not None), None)
        self.stamps = stamps

    def _stamps(self) -> Stamps:
        """By which it is known that a trial began or ended."""
        files = list(self.run.files.each_trial())
        return {one.folder.name: (written(one.folder / RECORD), written(one.request)) for one in files}

    def _began(self, trial: Trial) -> float | None:
        return written_seconds(self.run.files.trial(trial.id).request)


def scoring_after(study: Study, seconds: float | None, at_once: int) -> float | None:
    """Of the finalists, once all trials have run; `seconds`: of one, None where that is not known."""
    count = study.benchmarks.finalists if study.benchmarks and study.benchmarks.when == "finalists" else 0
    if not count or study.replay:
        return 0.0
    return None if seconds is None else seconds * math.ceil(count / at_once)
