"""What Ray Tune keeps between two trials and after them: for us too few workers, and too much of ended trials.

Of the workers that are free at one moment Ray Tune keeps one and ends the others, unless trials already wait for them.
A search proposes one trial at a time, from the outcomes of those before: two trials that end side by side then cost a
new process with all of its imports, as long as a third of a short trial.

Every trial it keeps until the run ends, with its last result and with objects that it made anew for each: the place
where it would store files, and the resources that it asked for. Of thousands of trials that is most of the driver's
memory, and nobody reads it: our records are the results.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ray.tune.execution import tune_controller
from ray.tune.utils.object_cache import _ObjectCache


class _EveryWorker(_ObjectCache):
    """Tune's cache of actors without its limit: all trials of a run take the same resources, so any actor serves any.

    There are never more than trials in parallel: Tune asks for a new one only where no cached one is left.
    """

    def cache_object(self, key: Any, obj: Any) -> bool:
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Generator[Any, None, None]:
        """Nothing, before Tune ends them all: when the search is over and no trial is left."""
        yield from super().flush_cached_objects(force_all=True) if force_all else ()


def keep_workers() -> None:
    """For the runs of Tune that this process starts from now on."""
    vars(tune_controller)[_ObjectCache.__name__] = _EveryWorker


class EndedTrials:
    """Empties each trial that has ended. What Tune still asks it for is that of the first, equal in all of a run."""

    def __init__(self) -> None:
        self.first: Any = None
        self.ended: list[Any] = []

    def add(self, trial: Any) -> None:
        """It is emptied later: Tune's own callbacks come after ours, and print what they do not know."""
        self.first = self.first or trial
        self.ended.append(trial)

    def empty(self) -> None:
        """Called when Tune is done with its events: of these trials nothing is wanted any more but their state."""
        for trial in self.ended:
            for kept in (trial.metric_analysis, trial.metric_n_steps, trial.evaluated_params):
                kept.clear()
            trial.run_metadata.last_result = {}
            trial._default_result_or_future = None  # what `last_result` falls back on
            trial.storage, trial.placement_group_factory = self.first.storage, self.first.placement_group_factory
        self.ended.clear()
