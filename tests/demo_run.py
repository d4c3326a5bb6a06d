"""The demo's run as it was measured: its 30 trials, from `tests/data/demo.csv`, as a run directory that is fitted."""

from __future__ import annotations

import math
from pathlib import Path

from analysis.fit.fit import fit_run
from analysis.table.import_table import read_table
from sweep.study import LANGUAGES, PerLanguage, Record, Study, Trial, study_file
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from tests.rooms import ROOT


def write(folder: Path) -> Path:
    """Write the run into `folder`: study, records, `trials.csv` and `fit.json`. It has no benchmark scores."""
    study, run = study_file.load("demo"), RunFiles(folder)
    for row in read_table(ROOT / "tests" / "data" / "demo.csv").to_dict("records"):
        record = _record(study, row)
        write_atomically(run.trial(record.trial_id).record, record.model_dump_json())
    write_atomically(run.study, study_file.dump(study))
    fit = fit_run(study, folder)
    write_atomically(run.table, fit.table.to_csv(index=False))
    write_atomically(run.fit, fit.file.model_dump_json())
    return folder


def _record(study: Study, row: dict[str, object]) -> Record:
    trial = Trial.model_validate({name: row[name] for name in ("almr", "lr", "seed")})
    outcome = {"status": row["status"], "attempt": 1, "tokens": row["tokens"]}
    losses = {"loss": _losses(row, "loss"), "base_loss": _losses(row, "base_loss")}
    names = {"trial_id": trial.id, "fingerprint": study.fingerprint}
    return Record.model_validate(names | trial.model_dump() | outcome | losses)


def _losses(row: dict[str, object], kind: str) -> PerLanguage:
    values = {name: row[f"{kind}_{name}"] for name in LANGUAGES}
    return PerLanguage.model_validate(
        {name: None if isinstance(loss, float) and math.isnan(loss) else loss for name, loss in values.items()}
    )
