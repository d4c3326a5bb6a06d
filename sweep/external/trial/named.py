"""A trial by a trainer that a launch can be exported to: its configuration is written by the launch's own format."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic

from analysis.launch import bundle
from analysis.launch.plan.launch_plan import DATA, TRIAL_RUN, LaunchPlan
from analysis.launch.scripts import prepare
from sweep.external.runs import halfway, plan, start
from sweep.external.runs.start import TrainerEnvironment
from sweep.external.runs.trace import Trace
from sweep.external.runs.trainer_run import QUIET, reader_command
from sweep.external.trial.job import ExternalTrialError, NodeCommand, TrialJob, TrialNodes
from sweep.study.sections.launch import Format
from sweep.worker.group.monitor import WorkerGroupError
from sweep.worker.group.node import python_path

CHECKPOINTS = 10  # of a run, of which the newest is kept
PACKED = "blocks.json"  # written last, when the text is packed
# Arguments beside the launch's own: what it then tells, on a GPU.
MORE = {"megatron": ("--log-timers-to-tensorboard", "--log-memory-to-tensorboard")}
# What torchtitan and Megatron-LM end with when a loss or gradient is not finite.
NOT_FINITE = re.compile(r"Loss is not finite|Unexpected result (?:nan|inf)|found (?:NaN|Inf) in", re.IGNORECASE)
TO_FILE = 'exec "$@" > "$0"'  # bash: the first argument is the file


@dataclass(frozen=True)
class NamedTrainer:
    """The trainer of a launch's format, in its environment."""

    name: Format
    environment: TrainerEnvironment

    def train(self, job: TrialJob, nodes: TrialNodes) -> Trace:
        made = launch_plan(job, self.name)
        launch, checkpoints = job.folder / "launch", job.folder / "checkpoints"
        if not write(made, self.name, launch):
            shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True, exist_ok=True)
        halfway.remove_torn(self.name, checkpoints)
        begins = halfway.newest(self.name, checkpoints)
        if (launch / prepare.NAME).is_file() and not (launch / DATA / PACKED).is_file():
            nodes.run(_ours(["bash", str(launch / prepare.NAME)], launch))
        own = QUIET | {"ALMR_CHECKPOINTS": str(checkpoints), "ALMR_RESTARTS": "0"}
        more = MORE.get(self.name, ()) if made.launch.gpus_per_node else ()
        words = self.environment.words(["bash", str(launch / "start.sh"), *more], own)
        try:
            nodes.run(NodeCommand(words, watched=(checkpoints,)))
        except WorkerGroupError as error:
            if NOT_FINITE.search(str(error)):
                return Trace(steps=(), versions=self._version, diverged=f"{self.name} stopped: {error}")
            raise
        found = self._read(job, launch, checkpoints, nodes)
        return found.model_copy(update={"resumed_from": begins, **({"training_seconds": None} if begins else {})})

    @property
    def _version(self) -> str:
        return f"{self.name} {start.version(self.environment, self.name)}".strip()

    def _read(self, job: TrialJob, launch: Path, checkpoints: Path, nodes: TrialNodes) -> Trace:
        """What the trainer left, read under its own Python."""
        python, answer = self.environment.python, job.folder / "answer.json"
        reader = reader_command(self.name, python, launch, checkpoints, job.study.training, job.steps)
        command = ["bash", "-c", TO_FILE, str(answer), *reader]
        nodes.run(NodeCommand(self.environment.words(command, QUIET), watched=(checkpoints,), first_only=True))
        try:
            lines = answer.read_text(encoding="utf-8").strip().splitlines()
            return Trace.model_validate_json(lines[-1] if lines else "")
        except pydantic.ValidationError as error:
            raise ExternalTrialError(f"what {self.name} left cannot be read: {error.errors()[0]['msg']}") from None


def launch_plan(job: TrialJob, name: Format) -> LaunchPlan:
    """The trial as a launch of this format."""
    checkpoints = min(CHECKPOINTS, job.steps)
    made = plan.of_study(job.study, job.trial, name, job.ingredients.corpora, checkpoints)
    return replace(made, parity={name: TRIAL_RUN}, newest_only=True)


def write(made: LaunchPlan, name: Format, folder: Path) -> bool:
    """Write the launch's files; returns whether an earlier attempt had the same ones. Then its packed text stays, and
    its checkpoints may be resumed from.
    """
    before = folder.with_name(f".{folder.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    folder.parent.mkdir(parents=True, exist_ok=True)
    bundle.write(made, name, folder)
    same = before.is_dir() and _texts(before) == _texts(folder)
    if same and (before / DATA / PACKED).is_file():
        (before / DATA).rename(folder / DATA)
    shutil.rmtree(before, ignore_errors=True)
    return same


def _texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _ours(words: list[str], watched: Path) -> NodeCommand:
    """A program of ours, on the first node: it finds `almr`, with the code of this run."""
    found = os.pathsep.join([str(Path(start.OURS).parent), os.environ.get("PATH", "")])
    return NodeCommand(tuple(words), {"PYTHONPATH": python_path(), "PATH": found}, (watched,), first_only=True)
