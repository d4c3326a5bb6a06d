"""Whether any trial makes progress: by steps, heartbeats and ends of trials."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable

from sweep.store.run import Run
from sweep.study import Record, Study, Trial, numbers

MOST_SECONDS = 60.0  # between looks at the files of the trials that run
LOOKS = 5  # in the time after which a run is stalled


class Stalling:
    """Looks at the trials that run, while `watch` is on: trials wait for a cluster too."""

    clock = staticmethod(time.monotonic)

    def __init__(self, study: Study, run: Run) -> None:
        assert study.notify
        self.run, self.seconds = run, study.notify.stalled_minutes * 60
        self.running: dict[str, Trial] = {}
        self.on = self.is_told = False
        self.seen: Hashable = None
        self.since = self.looked = self.clock()

    def watch(self, on: bool) -> None:
        self.on, self.running = on, {}
        self._progress()

    def started(self, trial: Trial) -> None:
        self.running[trial.id] = trial
        self._progress()

    def ended(self, record: Record) -> None:
        self.running.pop(record.trial_id, None)
        self._progress()

    def _progress(self) -> None:
        self.since, self.is_told = self.clock(), False

    def told(self) -> str | None:
        """What to say of a run that has become stalled; None of one that is not, or of which it was said."""
        now = self.clock()
        if not self.on or now - self.looked < min(MOST_SECONDS, self.seconds / LOOKS):
            return None
        self.looked = now
        if (seen := self._marks()) != self.seen:
            self.seen = seen
            self._progress()
        if self.is_told or now - self.since < self.seconds:
            return None
        self.is_told = True
        trials = ", ".join(self.running) or "none: does the cluster have room for one?"
        return (
            f"has stalled: no trial has made progress for {numbers.clock(now - self.since)}; running: {trials}. Look: "
            f"almr status {self.run.address}"
        )

    def _marks(self) -> Hashable:
        """What changes where a running trial makes progress. A store's heartbeat is young whenever it was fetched."""
        if self.run.mirror:
            return tuple((name, self.run.progress(trial)) for name, trial in sorted(self.running.items()))
        return tuple((name, *self._times(name)) for name in sorted(self.running))

    def _times(self, name: str) -> list[int]:
        files, found = self.run.files.trial(name), []
        for path in (files.heartbeat, files.metrics):
            with contextlib.suppress(OSError):
                found.append(path.stat().st_mtime_ns)
        return found
