"""Tune's cache of workers, as a search uses it that proposes one trial at a time."""

from __future__ import annotations

import sweep.controller  # noqa: F401  # before ray, which reads its environment when it is imported
from sweep.controller import warm_workers


def test_workers_that_are_free_at_one_moment_all_wait_for_the_next_trial() -> None:
    from ray.tune.execution import tune_controller

    warm_workers.keep()
    cache = tune_controller._ObjectCache(may_keep_one=True)  # as Tune makes it
    assert all(cache.cache_object("cores", worker) for worker in ("first", "second"))
    assert not list(cache.flush_cached_objects())
    cache.increase_max("cores")  # a trial waits
    assert not list(cache.flush_cached_objects())
    assert cache.pop_cached_object("cores") == "first"
    cache.decrease_max("cores")
    assert not list(cache.flush_cached_objects())
    assert list(cache.flush_cached_objects(force_all=True)) == ["second"]  # the search is over
    assert not cache.num_cached_objects
