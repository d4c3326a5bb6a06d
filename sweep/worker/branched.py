"""The first start of a branch of a launch: it takes over the checkpoint that its bundle names, and the log up to it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from analysis.launch.watching import branching
from analysis.launch.watching.branching import BranchNote
from sweep.store.run import Run
from sweep.study import InputError, Study, Trial
from sweep.study.files.layout import TrialFiles

CHANGES = ("lr", "fingerprint")  # of a checkpoint's identity: the fingerprint has the place of the held-out text
STATE = "state.json"


def take_over(run: Run, study: Study, trial: Trial, bundle: Path) -> int | None:
    """Make the checkpoint that `bundle`/branch.json names the trial's own, unless it has one, or a record; returns its
    step. None where the bundle is no branch. Called by the first rank, once the text is prepared.

    Raises InputError where the checkpoint is not there, or is of other text or another model.
    """
    note = branching.read(bundle)
    files = run.files.trial(trial.id)
    if note is None or files.record.exists() or any(files.checkpoint.glob("step-*")):
        return None
    from trainers.trials.cpt import identity

    ingredients = run.ingredients()
    assert ingredients, "the text is prepared before"
    source = Path(note.checkpoint)
    state = _state(source, identity(study, trial, ingredients))
    state["state"]["logged"] = _take_log(source, files, int(state["state"]["logged"]))
    _link(source, files.checkpoint, note, state)
    return note.step


def _state(source: Path, identity: dict[str, Any]) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((source / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"{source}: the checkpoint of this branch is gone or broken: write the branch again from another one"
        ) from None
    before, now = ({name: of[name] for name in of if name not in CHANGES} for of in (state["identity"], identity))
    if differs := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        raise InputError(
            f"{source}: the checkpoint was trained with another {', '.join(differs)}: see the bundle's data"
        )
    state["identity"] = identity
    return state


def _take_log(source: Path, files: TrialFiles, logged: int) -> int:
    """Copy the log up to the checkpoint, so that the curves are whole; returns its bytes, 0 where it is gone."""
    log = TrialFiles(source.parents[1]).metrics
    files.folder.mkdir(parents=True, exist_ok=True)
    if not log.is_file() or log.stat().st_size < logged:
        return 0
    with log.open("rb") as old, files.metrics.open("wb") as new:
        new.write(old.read(logged))
    return logged


def _link(source: Path, checkpoints: Path, note: BranchNote, state: dict[str, Any]) -> None:
    """Hard links take no space, and stay when the other run deletes its checkpoint; across disks it is a copy."""
    unfinished, final = checkpoints / f".step-{note.step}", checkpoints / f"step-{note.step}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for path in source.iterdir():
        if path.name != STATE:
            try:
                os.link(path, unfinished / path.name)
            except OSError:
                shutil.copyfile(path, unfinished / path.name)
    (unfinished / STATE).write_text(json.dumps(state))
    unfinished.rename(final)
