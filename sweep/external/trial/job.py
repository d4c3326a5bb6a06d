"""What a trial by another trainer is asked of: the trial as a study of its own, its folder, and its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sweep.external.runs.trace import Trace
from sweep.external.runs.trainer_run import PreparedFiles
from sweep.study import Ingredients, Study, Trial


class ExternalTrialError(RuntimeError):
    """A trainer failed, or did not train as the trial asks; the message is the record's reason, one line."""


class SpoiledModelError(ExternalTrialError):
    """A trainer changed the model from which every trial begins: none of them may go on, or be tried again."""


@dataclass(frozen=True)
class NodeCommand:
    """A program that every node of a trial runs, or with `first_only` its first node alone.

    It ends well where its status is 0 on each. `variables` are added to the environment; NNODES, NODE_RANK, MASTER_ADDR
    and MASTER_PORT are too. `watched`: files and folders that grow while it works; its log is watched as well.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    watched: tuple[Path, ...] = ()
    first_only: bool = False


class TrialNodes(Protocol):
    """The nodes that a trial has, on each of which a program can be run."""

    @property
    def count(self) -> int: ...

    def run(self, command: NodeCommand) -> None:
        """Run it to its end. No process of it is left when this returns or raises. Raises WorkerGroupError with the
        cause: a failure of a node, a hang, a lost node.
        """
        ...


@dataclass(frozen=True)
class TrialJob:
    """One training run of a trial: to its budget, or to one of the study's shorter horizons.

    `study` is the trial as a study of its own: one point of a grid, a base model that is a folder, and the run's tokens
    as `training.tokens`. `files` are files with it and its ingredients. `folder` is the run's own, and is there again
    when the trial is tried again, so that a trainer can resume.
    """

    study: Study
    trial: Trial
    ingredients: Ingredients
    files: PreparedFiles
    folder: Path

    @property
    def steps(self) -> int:
        return self.study.training.steps


class ExternalTrainer(Protocol):
    """A trainer other than ours."""

    def train(self, job: TrialJob, nodes: TrialNodes) -> Trace:
        """Train to the end and tell what was logged: `steps`, `tokens` of each language, `versions`, and the folder of
        the `model` that we evaluate, or `after`, held-out losses by language and source. Raises ExternalTrialError.
        """
        ...
