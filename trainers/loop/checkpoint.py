"""Checkpoints of a running trial, from which it resumes after a preemption, on any number of workers.

They are written to `checkpoint/step-N` in the trial's folder, by torch.distributed.checkpoint: every worker writes its
own part. A checkpoint gets its name when it is complete and on the disk, and only then is its predecessor deleted: a
crash at any moment, of the machine too, leaves one to resume from.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_saver import save

from sweep.study.files.atomic import sync, sync_one
from sweep.study.files.layout import TrialFiles
from sweep.study.files.reader import read_object
from trainers.loop import plain_reader
from trainers.loop.learner import Learner
from trainers.workers.group import WorkerGroup

FLAT = StateDictOptions(flatten_optimizer_state_dict=True)  # by the weights' names, whatever the optimizer's groups


class Checkpoints:
    """The checkpoints of the trial in `folder`, one every `minutes` (None: never). A checkpoint is used only if it has
    the same `identity`, a JSON object. All workers of the trial call the same methods.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], minutes: float | None, workers: WorkerGroup) -> None:
        self.folder = TrialFiles(folder).checkpoint
        self.identity, self.minutes, self.workers = identity, minutes, workers
        self.last = time.monotonic()
        self.found: dict[str, Any] | None = None

    def newest(self) -> dict[str, Any] | None:
        """The state that was saved with the newest checkpoint; None where this trial has none."""
        self.found = self.workers.broadcast(self._newest() if self.workers.first else None)
        return self.found["state"] if self.found else None

    def due(self) -> bool:
        """Whether it is time for the next one; the first worker's clock decides."""
        if self.minutes is None:
            return False
        return bool(self.workers.max(self.workers.first and time.monotonic() - self.last >= 60 * self.minutes)[0])

    def save(self, learner: Learner, state: dict[str, Any]) -> None:
        """Save weights, optimizer and random state, with the caller's `state`, a JSON object."""
        unfinished, final = self.folder / f".step-{learner.step}", self.folder / f"step-{learner.step}"
        if self.workers.first:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        self.workers.wait()
        save(_tensors(learner), checkpoint_id=unfinished, no_dist=not self.workers.sharded)
        torch.save(_random_state(self.workers.device), unfinished / f"random-{self.workers.rank}.pt")
        self.workers.wait()
        if self.workers.first:
            content = {"identity": self.identity, "workers": self.workers.size, "step": learner.step, "state": state}
            (unfinished / "state.json").write_text(json.dumps(content))
            sync(unfinished)
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)
            sync_one(self.folder)
            for path in self.folder.iterdir():
                if path != final:
                    shutil.rmtree(path, ignore_errors=True)
        self.last = time.monotonic()

    def load(self, learner: Learner) -> None:
        """Restore a learner from the checkpoint that `newest` found."""
        assert self.found
        folder = self.folder / f"step-{self.found['step']}"
        tensors = _tensors(learner)
        plain_reader.read(tensors, folder, no_dist=not self.workers.sharded)
        set_model_state_dict(learner.model, tensors["model"])
        set_optimizer_state_dict(learner.model, learner.optimizer, tensors["optimizer"], options=FLAT)
        if self.found["workers"] == self.workers.size:
            _restore_random_state(
                plain_reader.random_state(folder / f"random-{self.workers.rank}.pt"), self.workers.device
            )
        learner.step = self.found["step"]

    def delete(self) -> None:
        """What marks a checkpoint as whole goes first: a kill on the way leaves none that cannot be read."""
        if self.workers.first:
            for state in self.folder.glob("step-*/state.json"):
                state.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _newest(self) -> dict[str, Any] | None:
        """What is no state counts as none: a loss of power tore it, before checkpoints were synced."""
        found = sorted(self.folder.glob("step-*/state.json"), key=lambda path: int(path.parent.name.split("-")[1]))
        content = read_object(found[-1]) if found else None
        return content if content and content.get("identity") == self.identity else None


def _tensors(learner: Learner) -> dict[str, Any]:
    optimizer = get_optimizer_state_dict(learner.model, learner.optimizer, options=FLAT)
    return {"model": get_model_state_dict(learner.model), "optimizer": optimizer}


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | cuda


def _restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
