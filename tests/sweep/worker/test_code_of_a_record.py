"""The code that a record names is that which trained its trial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import make_study

from sweep.store.run import Run
from sweep.study import Record
from sweep.worker import run_trial


def test_a_finalist_that_another_version_scores_keeps_the_code_that_trained_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, study = Run(tmp_path / "small"), make_study()
    run.freeze(study)
    trial = study.grid_trials[0]
    of = {"trial_id": trial.id, "fingerprint": study.fingerprint, "status": "complete", "attempt": 1}
    trained = Record.model_validate(trial.model_dump() | of | {"loss": {"original": 3.0, "additional": 5.0}})
    for code, found in (("a", lambda: trained), ("b", lambda: run.record(trial))):
        run.files.provenance.write_text(json.dumps({"code_sha256": code}))
        monkeypatch.setattr(run_trial, "_train_or_score", lambda *_, found=found: found())
        run_trial.carry_out(run, study, trial, attempt=1)
        assert (done := run.record(trial))
        assert done.provenance["code_sha256"] == "a"
