"""The model that a chain begins with: the one that the launch of a run left, or any other."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sweep.external.runs.start import Ended, Script
from sweep.store import places
from sweep.store.run import Run
from sweep.study import InputError, Status, Study, study_file
from sweep.study.numbers import clock
from sweep.study.sections.post_training import ChainModel
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.worker.group.node import python_path

FIELD = "model.launch"
NATIVE, START, STUDY = "native", "start.sh", "study.yaml"
BESIDE = "checkpoints-*"  # run directories of launches, in the run or in $ALMR_CHECKPOINTS
DAY_SECONDS = 86400.0


@dataclass(frozen=True)
class Launched:
    """What the chain begins with. `before`: the model that the launch itself continued from, and `run` the run that it
    is of, whose held-out text the models have in common; None where the chain names no launch.
    """

    model: BaseModelSource
    before: str | None = None
    run: Run | None = None


def find(model: ChainModel, runs: str, console: Console) -> Launched:
    """The first model of a chain; trains the launch where that is not done and needs no more than this machine's CPU.

    Raises InputError where the launch was not exported, or has to be started elsewhere: it says the command.
    """
    if model.launch is None:
        return Launched(BaseModelSource(pretrained=model.pretrained, revision=model.revision))
    run, bundle = _bundle(model.launch, runs)
    found = _trained(run, bundle) or _train(run, bundle, console)
    made = found.ingredients()
    folder = _model(found)
    assert folder
    return Launched(BaseModelSource(pretrained=str(folder)), made.base_model if made else None, run)


def planned(model: ChainModel, runs: str) -> tuple[BaseModelSource, str]:
    """For a plan: the model, or where the launch is not trained the one that it continues from; and what is known of it
    in words. Raises InputError as `find`, and trains nothing.
    """
    if model.launch is None:
        return BaseModelSource(pretrained=model.pretrained, revision=model.revision), f"{model.pretrained}"
    run, bundle = _bundle(model.launch, runs)
    found = _trained(run, bundle)
    if found and (folder := _model(found)):
        return BaseModelSource(pretrained=str(folder)), f"{folder}, the launch of {run.address}"
    if fault := _elsewhere(bundle):
        raise InputError(fault)
    return study_file.load(bundle / STUDY).base_model, f"the launch of {run.address}, which is trained first"


def _bundle(launch: str, runs: str) -> tuple[Run, Path]:
    """A run and the folder of its launch with our own trainer."""
    try:
        run = Run.find(launch, runs)
    except InputError as error:
        raise InputError(f"{FIELD}: {error}") from None
    bundle = run.files.launch / NATIVE
    if run.mirror or not (bundle / STUDY).is_file():
        why = "is not on this machine's disk" if run.mirror else "has no launch bundle for almr's own trainer"
        raise InputError(
            f"{FIELD}: {launch}: the run {why}: almr export {shlex.quote(run.address)} writes one where launch.formats "
            f"has native; of a model that another trainer left, name the folder: model: {{pretrained: FOLDER}}"
        )
    return run, bundle


def _checkpoints(run: Run) -> Path:
    """Where start.sh puts the folder of a launch; absolute, as the script is started from another folder."""
    return Path(os.environ.get("ALMR_CHECKPOINTS") or run.folder).absolute()


def _trained(run: Run, bundle: Path) -> Run | None:
    """The run directory of the launch that was trained by this bundle's study, if it has ended well."""
    study = study_file.load(bundle / STUDY)
    return next((found for found in _launches(run) if _trains(study, found.study()) and _model(found)), None)


def _trains(study: Study, before: Study) -> bool:
    """Whether a run of the study `before` trained what `study` asks for, wherever both were then."""
    wanted = places.as_before(study, before)
    return (wanted.fingerprint, wanted.grid_trials) == (before.fingerprint, before.grid_trials)


def _launches(run: Run) -> Iterator[Run]:
    for folder in sorted(_checkpoints(run).glob(BESIDE)):
        if (folder / STUDY).is_file():
            yield Run(folder)


def _model(found: Run) -> Path | None:
    """The model of a launch whose record is complete."""
    [trial] = found.study().grid_trials
    record = found.record(trial)
    folder = found.files.trial(trial.id).model
    return folder if record and record.status is Status.COMPLETE and folder.is_dir() else None


def _elsewhere(bundle: Path) -> str | None:
    """Why the launch is not trained here, and the command; None where this machine's CPU suffices."""
    of = study_file.load(bundle / STUDY).resources
    if not of.gpus and of.nodes == 1:
        return None
    return f"{FIELD}: the launch has not ended, and needs GPUs: bash {shlex.quote(str(bundle / START))} trains it"


def _train(run: Run, bundle: Path, console: Console) -> Run:
    """Start the launch on this machine, as its user would. It resumes; an interrupt ends it with all that it started.

    Raises InputError where it does not end well.
    """
    if fault := _elsewhere(bundle):
        raise InputError(fault)
    log = run.folder / "launch.log"
    console.print(f"training the launch of {run.address} first; log: {log}", markup=False, soft_wrap=True)
    ended = _started(bundle / START, _checkpoints(run), log, console)
    if fault := ended.fault:
        raise InputError(f"{FIELD}: {fault}: mend that, then run the same command again")
    found = _trained(run, bundle)
    if found is None:
        raise InputError(f"{FIELD}: the launch ended without a model, log: {log}: mend that, and run it again")
    console.print(f"the launch is trained: {clock(ended.seconds)}", markup=False, soft_wrap=True)
    return found


def _started(script: Path, checkpoints: Path, log: Path, console: Console) -> Ended:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    variables = {"PATH": path, "PYTHONPATH": python_path(), "ALMR_CHECKPOINTS": str(checkpoints)}
    with console.status("training the launch") as status:

        def watch(seconds: float) -> bool:
            status.update(f"training the launch: {clock(seconds)}, {_last(log)}")
            return False

        return Script(script, variables, log, DAY_SECONDS).run(watch)


def _last(log: Path) -> str:
    """The last line of a log that our own trainer wrote."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "starting"
    return next((line.removeprefix("almr: ") for line in reversed(lines) if line.startswith("almr: ")), "starting")
