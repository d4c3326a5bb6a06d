"""The doctor compares trials.csv with the records, as `almr fit` writes it, and names what is half written."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import make_study

from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import Record
from sweep.study.tables.written import csv
from sweep.verbs.inspection import doctor


@pytest.mark.parametrize("reason", ["=== the trainer ended ===", "- no GPU", "@rank 3", "-1"])
def test_a_reason_that_a_spreadsheet_would_compute_is_no_damage(tmp_path: Path, reason: str) -> None:
    run, study = Run(tmp_path / "small"), make_study()
    run.freeze(study)
    trial = study.grid_trials[0]
    of = {"trial_id": trial.id, "fingerprint": study.fingerprint, "status": "failed", "attempt": 1, "reason": reason}
    run.start(trial, study)
    run.finish(Record.model_validate(trial.model_dump() | of))
    run.files.table.write_text(csv(tables.of_run(run.folder, study)))
    assert [remark for remark in doctor.examine(run).damaged if remark.path == run.files.table] == []


@pytest.mark.parametrize("name", [".launch.unfinished-4194305", ".launch.old-4194305"])
def test_what_an_earlier_version_left_half_written_is_told(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path / "small")
    run.freeze(make_study())
    (run.folder / name).mkdir()
    assert name in [remark.path.name for remark in doctor.examine(run).remarks]
