"""Replaces `trainers/trials/cpt.py` in a run's staged code: a trial that only sums over its ranks, or misbehaves.

The file `behaviour` of the trial's folder says how: `wait`, `crash`, `hang`, or `stop`, at the first attempt, the
process that waits for the ranks; without it the trial completes.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sweep.study import PerLanguage, Record, Status
from trainers.workers.heartbeat import Heartbeat


def run_trial(study: Any, trial: Any, ingredients: Any, folder: Path, attempt: int = 1) -> Record | None:
    dist.init_process_group("gloo")
    rank, total = dist.get_rank(), torch.ones(1)
    dist.all_reduce(total)
    Heartbeat(folder).signal()
    (folder / f"rank{rank}.pid").write_text(f"{os.getpid()}\n")
    behaviour = folder / "behaviour"
    if behaviour.exists():
        misbehave(behaviour.read_text(), rank, attempt)
    print(f"rank {rank} of {int(total)} is done")
    dist.destroy_process_group()
    if rank:
        return None
    return Record(
        **trial.model_dump(),
        trial_id=trial.id,
        fingerprint=study.fingerprint,
        status=Status.COMPLETE,
        attempt=attempt,
        loss=PerLanguage(original=float(total), additional=1.0),
    )


def misbehave(how: str, rank: int, attempt: int) -> None:
    if how == "stop":
        if attempt > 1:
            return
        if rank == 0:
            os.kill(process_of_tune(), signal.SIGSTOP)
        time.sleep(600)
    if how == "crash" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 or how == "wait":
        time.sleep(600)
    dist.all_reduce(torch.ones(1))  # the other rank never joins


def process_of_tune() -> int:
    """The nearest process of Ray above this one."""
    process = os.getpid()
    while not Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::"):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process
