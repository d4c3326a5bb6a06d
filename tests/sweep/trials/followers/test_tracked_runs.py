"""The sessions of a run in the trackers, where the run is on an object store: its workers see their run's, and the
driver sends the end of a trial whose worker was killed.
"""

from __future__ import annotations

from pathlib import Path

import bucket
import pytest
from samples import make_study

from sweep.store.run import Run
from sweep.study import Record, Status
from sweep.trials.followers.tracked_runs import TrackedRuns
from sweep.worker.run_trial import at_worker
from trainers.tracking import sessions
from trainers.tracking.tracker import tracked


def test_on_an_object_store_sessions_reach_the_workers_and_ends_the_store(tmp_path: Path, cache: Path) -> None:
    bucket.register()
    kept, study = tmp_path / "kept" / "small", make_study()
    run, trial = Run(f"bucket://{kept}"), study.grid_trials[0]
    run.freeze(study)
    sessions.keep(run.folder, "mlflow", "of the study")
    run.share()
    with at_worker(run.address, trial) as at:
        assert sessions.of_run(at.trial_folder(trial), "mlflow") == "of the study"
        with tracked(study, trial, at.trial_folder(trial)) as tracker:
            tracker.log({"step": 1, "loss": 3.0})
            sessions.keep(at.trial_folder(trial), "mlflow", "of the trial")
    there = kept / "trials" / trial.id / "tensorboard"
    assert not [path for path in there.iterdir() if b"failed" in path.read_bytes()]
    identity = {"trial_id": trial.id, "fingerprint": study.fingerprint, "attempt": 2, "reason": "killed"}
    TrackedRuns(study, run, pytest.fail).ended(Record(**trial.model_dump(), **identity, status=Status.FAILED))
    assert sessions.session(run.trial_folder(trial), "mlflow") == "of the trial"
    [ended] = [path for path in there.iterdir() if b"failed" in path.read_bytes()]
    assert ended.name.endswith(".outcome")
