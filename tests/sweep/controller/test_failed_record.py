"""The record of a trial that failed on every retry, which the controller writes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from samples import make_study

from sweep.controller.stopping import Stopping
from sweep.controller.trials import _Callback
from sweep.store.run import Run
from sweep.study import Record, Trial


@pytest.mark.parametrize("trainer", ["native", "megatron"])
def test_it_names_the_trainer_that_was_asked(tmp_path: Path, trainer: str) -> None:
    study, run, trial = make_study(trainer=trainer), Run(tmp_path / "run"), Trial(almr=0.5, lr=1e-3, seed=0)
    run.start(trial, study)
    (error := tmp_path / "error.txt").write_text("Traceback\nsweep.external.trial.job.TrialError: out of memory\n")
    told: list[Record | None] = []
    callback = _Callback(study, run, lambda of, record: told.append(record), Stopping())
    callback.on_trial_error(0, [], SimpleNamespace(config={"trial": trial.model_dump()}, error_file=str(error)))
    record = run.record(trial)
    assert record
    assert told == [record]
    assert (record.status, record.reason, record.trainer.name) == ("failed", "out of memory", trainer)
