"""Keeps a worker process between two trials, also while several workers have no trial.

Of the workers that are free at one moment Ray Tune keeps one and ends the others, unless trials already wait for them.
A search proposes one trial at a time, from the outcomes of those before: two trials that end side by side then cost a
new process with all of its imports, as long as a third of a short trial.
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


def keep() -> None:
    """For the runs of Tune that this process starts from now on."""
    vars(tune_controller)[_ObjectCache.__name__] = _EveryWorker
