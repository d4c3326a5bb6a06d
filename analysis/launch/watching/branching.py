"""A branch of a launch: a bundle that goes on from a checkpoint with another LR, on the same rows and schedule.

It is written from the bundle that was started, not from the fit, which may be another one by now. Only the LR changes:
every later step has its share of the new peak, as it had of the old one.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.launch.watching.advice import BRANCHES, WHY_NOT
from analysis.launch.watching.bundles import CONFIRM, STUDY, WatchedLaunch
from sweep.study import InputError, Schema, numbers, study_file
from sweep.study.files import disk, reader, unfinished

NAME = "branch.json"
SCHEMA_VERSION = 1
README = "README.md"
OF_BUNDLE = ("predicted_losses.json", "prepared", NAME)  # files that are not a branch's
STARTS = ("start.sh", "slurm.sbatch", "rayjob.yaml", "ray_start.py", "sky.yaml")
HIGHEST_LR = 1.0  # of a peak: no optimizer of ours trains with more
MOST_BYTES = 2**20  # of a file in which the name of the checkpoints may be


class BranchNote(Schema):
    """`checkpoint`: the folder, absolute. `lr` is the new peak, `lr_before` the old one; both of step `step` + 1 on."""

    schema_version: int = SCHEMA_VERSION
    checkpoint: str
    step: int
    lr: float
    lr_before: float


@dataclass(frozen=True)
class Branched:
    """A written branch: `folder` is that of the bundle, `start` the script."""

    folder: Path
    start: Path
    note: BranchNote

    def as_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "start": str(self.start)} | self.note.model_dump()

    @property
    def lines(self) -> list[str]:
        note = self.note
        return [
            f"branch: {self.folder}",
            f"from step {note.step + 1:,} on it trains with peak LR {numbers.lr(note.lr)} (before: "
            f"{numbers.lr(note.lr_before)}), on the same rows and schedule",
            f"stop the other run, then: bash {shlex.quote(str(self.start))}",
        ]


def read(folder: Path) -> BranchNote | None:
    """The note in a format's folder; None where it is no branch. Raises InputError for a file that is broken."""
    try:
        return reader.read(folder / NAME, BranchNote, "note of a branch", SCHEMA_VERSION, "write it again: almr branch")
    except FileNotFoundError:
        return None


def write(launch: WatchedLaunch, checkpoint: Path, factor: float, out: Path | None = None) -> Branched:
    """Write the branch beside the bundle, as `launch-branch-1`, or to the folder `out`, which must not be there.

    Raises InputError for a format that cannot branch, a checkpoint that is none of this launch, and a bad factor.
    """
    if launch.format not in BRANCHES:
        raise InputError(f"{launch.folder}: {launch.format} cannot go on with another LR: {WHY_NOT[launch.format]}")
    if not (math.isfinite(factor) and factor > 0 and 0 < launch.lr * factor <= HIGHEST_LR):
        raise InputError(
            f"--lr-factor {factor:g}: give a number above 0, such as 0.5, with which the LR, now "
            f"{numbers.lr(launch.lr)}, is at most {HIGHEST_LR:g}"
        )
    note = BranchNote(
        checkpoint=str(checkpoint.resolve()),
        step=_step(launch, checkpoint),
        lr=launch.lr * factor,
        lr_before=launch.lr,
    )
    target = out or _next(launch.folder.parent)
    if os.path.lexists(target):
        raise InputError(f"{target}: it is there already: name a new folder with --out")
    if launch.folder.parent.resolve() in target.resolve().parents:
        raise InputError(f"{target}: it is inside the bundle, which stays as it is: name a folder beside it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.becoming(target) as made:
        inside = _inside(launch)
        _fill(launch, made / inside, note)
        if inside != launch.format:  # the text that it names, with what prepares it
            without = shutil.ignore_patterns(*OF_BUNDLE, *STARTS)
            shutil.copytree(launch.folder.parent / launch.format, made / launch.format, ignore=without, symlinks=True)
        disk.written(made / README, _readme(launch, note, inside))
        made.rename(target)
    return Branched(target, target / inside / "start.sh", note)


def _inside(launch: WatchedLaunch) -> str:
    """The folder of the format. A confirmation run keeps its own: its files name the launch's, which lies beside it."""
    name = launch.folder.resolve().name
    return name if CONFIRM.fullmatch(name) else launch.format


def _next(bundle: Path) -> Path:
    bundle = bundle.resolve()
    name = bundle.name.partition("-branch-")[0]
    return next(path for i in range(1, 10**6) if not (path := bundle.with_name(f"{name}-branch-{i}")).exists())


def _step(launch: WatchedLaunch, checkpoint: Path) -> int:
    """The step of one of our trainer's checkpoints. Raises InputError where it is of another trial, or none at all."""
    content = reader.read_object(checkpoint / "state.json")
    identity = content.get("identity") if content else None
    step = content.get("step") if content else None
    if not isinstance(identity, dict) or type(step) is not int:
        raise InputError(
            f"{checkpoint}: no checkpoint of almr's own trainer (no state.json with a step): name the folder step-N"
        )
    ours = {"almr": launch.almr, "seed": launch.study.grid.seeds[0], "lr": launch.lr}
    if differs := [name for name, value in ours.items() if identity.get(name) != value]:
        theirs = ", ".join(f"{name} {identity.get(name)}" for name in differs)
        raise InputError(f"{checkpoint}: it is of a run with {theirs}: name a checkpoint of this launch")
    _refuse_other_budget(launch, checkpoint)
    if not 0 < step < launch.steps:
        raise InputError(f"{checkpoint}: step {step:,} of {launch.steps:,}: nothing is left to train from it")
    return step


def _refuse_other_budget(launch: WatchedLaunch, checkpoint: Path) -> None:
    """Raises InputError for a checkpoint of a confirmation run, say, which may have the launch's ALMR, LR and seed: its
    schedule is another one. A checkpoint that was linked elsewhere has no study in the folder of its run.
    """
    for run in checkpoint.resolve().parents[3:4]:  # RUN/trials/ID/checkpoint/step-N
        if not (run / STUDY).is_file():
            return
        theirs, ours = study_file.load(run / STUDY).training, launch.study.training
        if (theirs.steps, theirs.batch_sequences) != (ours.steps, ours.batch_sequences):
            raise InputError(
                f"{checkpoint}: it is of a run of {theirs.steps:,} steps of {theirs.batch_sequences:,} sequences, the "
                f"launch has {ours.steps:,} of {ours.batch_sequences:,}: name a checkpoint of this launch"
            )


def _fill(launch: WatchedLaunch, folder: Path, note: BranchNote) -> None:
    """The files of the format, with the new LR and checkpoints of their own, so that neither run finds the other's."""
    shutil.copytree(launch.folder, folder, ignore=shutil.ignore_patterns(*OF_BUNDLE), symlinks=True)
    content = note.model_dump_json(indent=2) + "\n"
    disk.written(folder / NAME, content)
    own = launch.output.name if launch.output else ""  # other names of its kind are of the model that it starts from
    instead = f"{own[:-9]}-branch-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink() and path.name != NAME and path.stat().st_size < MOST_BYTES:
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:  # none of the export's
                continue
            changed = text.replace(own, instead) if own else text
            if path.name == STUDY:
                changed = _with_lr(changed, note)
            if changed != text:
                _replaced(path, changed)


def _replaced(path: Path, text: str) -> None:
    mode = path.stat().st_mode
    disk.written(path, text)
    path.chmod(mode)


def _with_lr(text: str, note: BranchNote) -> str:
    """The study with the new LR and its comment; paths in it stay relative."""
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    content = yaml.safe_load(text)
    content["grid"]["lr"] = [note.lr]
    instead = f"LR {numbers.lr(note.lr)} in place of {numbers.lr(note.lr_before)}"
    head += f"# Branch: from step {note.step + 1:,} on, {instead}.\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)


def _readme(launch: WatchedLaunch, note: BranchNote, inside: str) -> str:
    """`inside`: the folder with the start scripts."""
    return f"""# Branch of {launch.study.name}

From step {note.step + 1:,} of {launch.steps:,} on it trains with peak LR {numbers.lr(note.lr)}, in place of
{numbers.lr(note.lr_before)}. Rows and schedule are those of the launch: each step has the same share of the peak.

1. Stop the launch that it branches from.
2. Where the nodes have GPUs: `bash {launch.format}/prepare.sh`, which finds the text that is packed already.
3. Start it as the launch: `{inside}/start.sh` on every node, or `slurm.sbatch` and the others beside it.

The first start takes the checkpoint over, without copying it where it lies on the same disk. Nothing is predicted of a
branch: `almr watch` judges it by divergence, speed and stalls alone.
"""
