"""Which outcomes a proposal of a parallel search sees.

Proposal number k, of n trials in parallel, sees the outcomes of the trials up to number k - n, and takes the others as
running: then the order in which trials of like durations end changes nothing. It waits for these outcomes, but not for
a trial that takes over LATE times as long as others: that one counts as running too, and no slot idles for it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

LATE = 1.5  # medians of the durations of the trials that ended


def overdue(start: float, durations: Sequence[float]) -> float:
    """When a running trial is late: from then on no proposal waits for it. `durations` of at least one that ended."""
    return start + LATE * statistics.median(durations)


@dataclass
class Timetable:
    """A cluster of `at_once` slots in simulated time: when each trial started and ended, in the order of the starts."""

    at_once: int
    now: float = 0.0
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def seen(self) -> list[int]:
        """Waits until the next trial may start: the numbers of the trials whose outcomes its proposal sees."""
        running = sorted(end for end in self.ends if end > self.now)
        if len(running) >= self.at_once:
            self.now = running[len(running) - self.at_once]
        older = range(max(len(self.ends) - self.at_once + 1, 0))
        done = [end - start for start, end in zip(self.starts, self.ends, strict=True) if end <= self.now]
        waits = [min(self.ends[i], overdue(self.starts[i], done)) for i in older if self.ends[i] > self.now]
        self.now = max([self.now, *waits])
        return [i for i in older if self.ends[i] <= self.now]

    def start(self, duration: float) -> None:
        """Starts the next trial now."""
        self.starts.append(self.now)
        self.ends.append(self.now + duration)
