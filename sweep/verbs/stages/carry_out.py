"""A stage of a chain: the plain run that it is, and the model that it leaves."""

from __future__ import annotations

import math
import shlex
from collections.abc import Container
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from sweep.planning import warnings
from sweep.store import places
from sweep.store.run import Run
from sweep.study import LANGUAGES, Ingredients, InputError, Record, Study
from sweep.study.files.reader import read_object
from sweep.trials.progress import RunProgress
from sweep.verbs.results import rerun
from sweep.verbs.running import preparing, single
from sweep.verbs.running import run as sweep_run
from sweep.verbs.stages.chain_file import ChainStage
from sweep.verbs.stages.chain_record import StageResult

FEW = "too few trials for a surface: the best of them is taken"


def carry_out(stage: ChainStage, run: Run, console: Console, address: str | None) -> StageResult:
    """Run what is left of a stage. Raises InputError where its finished trials had another model or text, and where it
    leaves no model.
    """
    study, made = _same_inputs(stage.study, run, console)
    if single.only_trial(study):
        text = single.train(study, run, console, address).text()
    elif warnings.too_small(study):
        sweep_run.grid(study, run, console, address, follow=True)
        text = f"{study.name}: {FEW}"
    else:
        text = sweep_run.run(study, run, console, sweep_run.RunOptions(address)).text(rerun.of(run))
    console.print(text, markup=False, soft_wrap=True)
    made = made or run.ingredients()
    best = best_saved(run)
    if best and not _asked_for(study, best[0].trial_id):
        best = best_saved(run, {trial.id for trial in study.grid_trials}) or _refuse_other_grid(run, best[0].trial_id)
    if best is None or made is None:
        raise InputError(
            f"{run.address}: no trial left a model ({_outcomes(study, run)}): mend that, then run the chain again"
        )
    record, model = best
    return StageResult(
        stage=stage.stage,
        run=run.address,
        trial=record.trial_id,
        model=str(model),
        began_with=made.base_model_fingerprint,
        languages={language: study.language_name(language) for language in LANGUAGES},
        base_loss=record.base_loss,
        loss=record.loss,
    )


def _same_inputs(study: Study, run: Run, console: Console) -> tuple[Study, Ingredients | None]:
    """Look at the model and text of a run that has finished trials: where all have, it would not look itself. Returns
    the study with the places that the run knows: those of before the chain was copied or moved.

    Raises InputError where either is another one.
    """
    if not run.files.study.is_file():
        return study, None
    known = places.as_before(study, run.study())
    run.refuse_other_recipe(known)
    _refuse_moved(known, study, run)
    if not run.files.records():
        return known, None
    preparing.prepare(study, run, console)
    return known, run.ingredients()


def _refuse_moved(known: Study, study: Study, run: Run) -> None:
    """Raises InputError where trials are left that would look for their model at its old place."""
    before, now = known.base_model.pretrained or "", study.base_model.pretrained or ""
    if before != now and not Path(before).is_dir() and RunProgress.of(study, run).left:
        raise InputError(
            f"{run.address}: its trials began with {before}, which was moved, and some are left: link it there "
            f"(ln -s {shlex.quote(now)} {shlex.quote(before)}), or move the chain back"
        )


def _asked_for(study: Study, trial: str) -> bool:
    """Whether a trial is one of the study's. Of a few trials only those of the grid are; a sweep goes on from its best
    trial, which `--also` may have added.
    """
    return not (single.only_trial(study) or warnings.too_small(study)) or trial in {one.id for one in study.grid_trials}


def _refuse_other_grid(run: Run, trial: str) -> NoReturn:
    raise InputError(
        f"{run.address}: the only model that was kept is of {trial}, which the grid has no more: put it back, or give "
        f"the chain another name"
    )


def best_saved(run: Run, among: Container[str] | None = None) -> tuple[Record, Path] | None:
    """The best trial whose model was saved, by the study's objective, and the folder of that model. `among`: only of
    these trials; None: of all.
    """
    found = []
    for files in run.files.each_trial():
        if among is not None and files.folder.name not in among:
            continue
        note = read_object(files.saved_model_note) if files.saved_model_note.is_file() else None
        if note is not None and files.model.is_dir() and files.record.is_file():
            objective = note.get("objective")
            known = isinstance(objective, int | float) and math.isfinite(objective)
            found.append((objective if known else math.inf, files.folder.name, files))
    for _, _, files in sorted(found, key=lambda one: one[:2]):
        record = next((run.record(t.trial) for t in run.requests() if t.trial.id == files.folder.name), None)
        if record:
            return record, files.model
    return None


def _outcomes(study: Study, run: Run) -> str:
    found = [record for trial in study.grid_trials if (record := run.record(trial))]
    return (
        "; ".join(f"{record.trial_id} {record.status.value}: {record.reason}" for record in found) or "none has ended"
    )
