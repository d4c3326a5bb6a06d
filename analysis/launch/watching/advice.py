"""What to do about a verdict: go on, branch from a checkpoint at half the LR, or stop; with the command to copy."""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from analysis.launch.watching.bundles import START, WatchedLaunch
from analysis.launch.watching.verdict import WatchVerdict

FACTOR = 0.5
# A checkpoint by its folder's name: ours and torchtitan's, transformers', Megatron's.
CHECKPOINT = re.compile(r"(?:step-|checkpoint-|iter_0*)(\d{1,12})")
LEVELS = ("*", "*/*", "*/*/*", "*/*/*/*")  # ours lie in trials/ID/checkpoint/
BRANCHES = ("native",)
WHY_NOT = {
    "llamafactory": "transformers' Trainer takes the old LR from scheduler.pt when it resumes",
    "axolotl": "transformers' Trainer takes the old LR from scheduler.pt when it resumes",
    "trl": "transformers' Trainer takes the old LR from scheduler.pt when it resumes",
    "torchtitan": "torchtitan takes the old LR from its checkpoint when it resumes",
    "megatron": "Megatron-LM resumes with another LR by --override-opt_param-scheduler, --lr and --min-lr",
}


@dataclass(frozen=True)
class Advice:
    """`action`: continue, branch, look or stop. `command` is empty where there is nothing to start."""

    action: str
    text: str
    command: str = ""


def checkpoints(launch: WatchedLaunch, places: tuple[Path, ...] = ()) -> dict[int, Path]:
    """The checkpoints of the run by step, where its trainer writes them, or in the folders `places`."""
    found: dict[int, Path] = {}
    for place in places or ((launch.output,) if launch.output else ()):
        for pattern in LEVELS:
            with contextlib.suppress(OSError):  # folders that are not ours to read
                for path in place.glob(pattern):
                    named = CHECKPOINT.fullmatch(path.name)
                    if named and path.is_dir():
                        found.setdefault(int(named[1]), path)
    return dict(sorted(found.items()))


def advise(launch: WatchedLaunch, verdict: WatchVerdict, known: dict[int, Path], ended: bool = False) -> Advice:
    """`known`: the checkpoints by step. `ended`: all steps are done."""
    if verdict.word == "stalled":
        start = shlex.join(["bash", str(launch.folder / START)])
        return Advice("look", "look at its output; where it has ended, start it again: it goes on by itself", start)
    if not verdict.alarms:
        return Advice("continue", "nothing is left to do" if ended else "continue")
    if verdict.below:
        return Advice(
            "continue", "continue, but look why the loss is under its band: is the held-out text in what it reads?"
        )
    return _branch(launch, verdict, known, "it has ended: do not use its model unseen;" if ended else "stop it, and")


def _branch(launch: WatchedLaunch, verdict: WatchVerdict, known: dict[int, Path], first: str) -> Advice:
    since = verdict.since or 0
    before = [step for step in known if step < since and step <= max(verdict.good, since - 1)]
    sound = [step for step in before if step <= verdict.good] or before
    if launch.format not in BRANCHES:
        why = WHY_NOT.get(launch.format, "this trainer takes the old LR from its checkpoint")
        return Advice("stop", f"{first} start again at half the LR; no branch of it is written: {why}")
    if not sound:
        found = f"the oldest is of step {min(known):,}" if known else "there is none"
        text = f"{first} start again at half the LR: no checkpoint is from before step {since:,} ({found})"
        return Advice("stop", text)
    step = sound[-1]
    command = shlex.join(["almr", "branch", str(launch.folder), str(known[step]), "--lr-factor", f"{FACTOR:g}"])
    return Advice("branch", f"{first} branch at half the LR from the checkpoint of step {step:,}", command)
