"""Starts the program of a run on this machine, and stops it with all that it started."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from sweep.external.command.files import CommandFiles
from sweep.external.trial.growth import GrowthWatch
from sweep.external.trial.job import NodeCommand
from sweep.external.trial.node import TrainerProcesses
from sweep.study.sections.resources import Resources
from sweep.worker.group.node import Rendezvous, free_port
from sweep.worker.watch.ending import hang_reason

SECONDS_BETWEEN = 0.1


class ProgramEnd(NamedTuple):
    """How a run of the program ended. `stopped`: by us, before its end; `fault`: why it did not end well."""

    seconds: float
    stopped: bool = False
    fault: str | None = None


def run_here(
    files: CommandFiles, resources: Resources, show: Callable[[float], None], stop: float | None = None
) -> ProgramEnd:
    """Run the program to its end. It is stopped where it hangs, which is a fault, and with `stop` after so many
    seconds, or at its first checkpoint.
    """
    began = time.monotonic()
    command = NodeCommand(files.words)
    growth = GrowthWatch([files.log, files.checkpoints], files.folder)
    program = TrainerProcesses(_alone(resources), command, files.log)
    try:
        while (outcome := program.poll()) is None:
            seconds = time.monotonic() - began
            show(seconds)
            if growth.seconds > resources.hang_minutes * 60:
                return ProgramEnd(seconds, fault=hang_reason(resources.hang_minutes))
            if stop is not None and (seconds > stop or files.has_checkpoint):
                return ProgramEnd(seconds, stopped=True)
            time.sleep(SECONDS_BETWEEN)
    finally:
        program.stop()
    fault = next((failure.message for failure in outcome.failures), None)
    return ProgramEnd(time.monotonic() - began, fault=fault)


def _alone(resources: Resources) -> Rendezvous:
    cpus = resources.cpus_per_gpu if resources.gpus_per_node else resources.cpus_per_node
    return Rendezvous("127.0.0.1", free_port(), 1, 0, max(1, resources.gpus_per_node), cpus, resources.gpus > 0)
