"""The model that a user names: a Hugging Face directory, a trial, run or launch that saved one, or an id of the hub."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from sweep.store.remote import is_remote
from sweep.store.storage import named
from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files import reader, regular
from sweep.study.files.layout import RunFiles, TrialFiles
from sweep.study.sizes.known import EMBEDDED

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
LAUNCHES = "checkpoints-*"  # in a run's folder: where start.sh of a bundle leaves our own trainer's launch
SAVE = "write keep: best (or all) in its study"


@dataclass(frozen=True)
class ModelToServe:
    """`name`: that clients give. `folder`: where it is; None: on the hub, or an embedded one, named by `source`."""

    name: str
    folder: Path | None
    source: str


def find(given: str, runs: str, name: str | None = None) -> ModelToServe:
    """Loads nothing. `name`: that clients give, other than its own. Raises InputError where there is none."""
    found = _found(given, runs)
    return ModelToServe(name, found.folder, found.source) if name else found


def _found(given: str, runs: str) -> ModelToServe:
    if is_remote(given):
        raise InputError(f"{given}: a model is served from a folder: copy its files to this machine")
    for path in (Path(given), Path(named(runs, given))):
        if (path / "config.json").is_file():
            return _of_folder(path)
        if RunFiles(path).study.is_file() or TrialFiles(path).request.is_file():
            return _saved_in(path)
    if Path(given).exists():
        raise InputError(f"{given}: no model (it has no config.json): give a directory that save_pretrained wrote")
    if not HUB_ID.fullmatch(given) and given not in EMBEDDED:
        raise InputError(f"{shown(given)}: no such folder, run or trial, and no id of the hub (owner/name)")
    return ModelToServe(given, None, given)


def _of_folder(folder: Path) -> ModelToServe:
    """By the name of the folder; a saved model of a trial by run and trial."""
    folder = folder.resolve()
    regular.refuse_pipes(folder, "save the model again")
    files = TrialFiles(folder.parent)
    if folder == files.model and files.request.is_file():
        return _local(f"{files.folder.parent.parent.name}-{files.folder.name}", folder)
    return _local(folder.name or "model", folder)


def _local(name: str, folder: Path) -> ModelToServe:
    return ModelToServe(name, folder, str(folder))


def _saved_in(place: Path) -> ModelToServe:
    """Of a trial, of the best trial of a run that saved its model, or of the launch beside it."""
    if TrialFiles(place).request.is_file():
        if (TrialFiles(place).model / "config.json").is_file():
            return _of_folder(TrialFiles(place).model)
        raise InputError(f"{place}: this trial saved no model: {SAVE}, and run it under another name")
    if best := _best(place):
        return _local(place.resolve().name, best)
    launches = [found for folder in sorted(place.glob(LAUNCHES)) if (found := _best(folder))]
    if len(launches) > 1:
        several = ", ".join(os.fspath(path.parent.parent.parent) for path in launches)
        raise InputError(f"{place}: several launches left a model: name one of {several}")
    if launches:
        return _local(place.resolve().name, launches[0])
    raise InputError(f"{place}: neither a trial nor a launch of this run saved a model: {SAVE}, or start the launch")


def _best(run: Path) -> Path | None:
    """The saved model with the lowest objective."""
    saved = [
        (_objective(files), files.model.resolve())
        for files in RunFiles(run).each_trial()
        if (files.model / "config.json").is_file()
    ]
    return min(saved)[1] if saved else None


def _objective(files: TrialFiles) -> float:
    note = reader.read_object(files.saved_model_note) if files.saved_model_note.is_file() else None
    value = (note or {}).get("objective")
    return value if isinstance(value, int | float) and math.isfinite(value) else math.inf


def config_of(folder: Path) -> dict[str, object]:
    """The model's config.json. Raises InputError."""
    path = folder / "config.json"
    try:
        content = reader.parse(path, "model's configuration", "save the model again")
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}): save the model again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a model's configuration: save the model again")
    return content
