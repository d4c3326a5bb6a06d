"""What Tune keeps: its cache of workers, as a search uses it that proposes one trial at a time, and ended trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sweep.controller  # noqa: F401  # before ray, which reads its environment when it is imported
from sweep.controller import tune_memory


def test_workers_that_are_free_at_one_moment_all_wait_for_the_next_trial() -> None:
    from ray.tune.execution import tune_controller

    tune_memory.keep_workers()
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


def ended_trial(folder: Path, number: int) -> Any:
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment.trial import Trial

    storage = StorageContext(str(folder), experiment_dir_name="run", trial_dir_name=f"trial-{number}")
    trial = Trial("trains", config={"trial": {"seed": number}}, storage=storage, stub=True)
    trial.create_placement_group_factory()
    trial.update_last_result({"status": "complete", "training_iteration": 1, "trial_id": trial.trial_id})
    return trial


def test_of_trials_that_have_ended_tune_keeps_what_they_are_and_not_their_results(tmp_path: Path) -> None:
    first, second = ended_trial(tmp_path, 1), ended_trial(tmp_path, 2)
    ended = tune_memory.EndedTrials()
    for trial in (first, second):
        ended.add(trial)
    assert second.last_result["status"] == "complete"  # which Tune prints where it does not know it
    ended.empty()
    assert [trial.config["trial"]["seed"] for trial in (first, second)] == [1, 2]
    assert second.last_result == {"trial_id": second.trial_id}  # as before its first result
    assert second.storage is first.storage
    assert second.placement_group_factory is first.placement_group_factory
    assert not second.metric_analysis
