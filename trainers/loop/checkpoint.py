"""Checkpoints of a trial under way, so that it goes on after a preemption, on as many workers or on others.

They lie in the trial's folder as `checkpoint/step-N`, by torch.distributed.checkpoint: every worker writes its own
part. One is written beside its predecessor and takes its name when it is whole: a crash at any moment leaves one to go
on from.
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
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from trainers.loop.loop import Learner
from trainers.workers.group import WorkerGroup

FLAT = StateDictOptions(flatten_optimizer_state_dict=True)  # by weight, whatever the optimizer's groups


class Checkpoints:
    """Of the trial in `folder`. `identity` has to be the same for one to be gone on from, a JSON object.

    Every worker of a gang calls the same methods.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], minutes: float | None, gang: WorkerGroup) -> None:
        self.folder, self.identity, self.minutes, self.gang = folder / "checkpoint", identity, minutes, gang
        self.last = time.monotonic()

    def newest(self) -> dict[str, Any] | None:
        """The state that was saved with the newest checkpoint, None where there is none of this trial."""
        state: dict[str, Any] | None = self.gang.told(self._newest() if self.gang.first else None)
        return state

    def due(self) -> bool:
        """Whether it is time for the next one; the first worker's clock decides."""
        if self.minutes is None:
            return False
        return bool(self.gang.max(self.gang.first and time.monotonic() - self.last >= 60 * self.minutes)[0])

    def save(self, learner: Learner, state: dict[str, Any]) -> None:
        """Save weights, optimizer and random numbers, with a `state` of the caller's, a JSON object."""
        unfinished, final = self.folder / f".step-{learner.step}", self.folder / f"step-{learner.step}"
        if self.gang.first:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        self.gang.wait()
        save(_tensors(learner), checkpoint_id=unfinished, no_dist=not self.gang.sharded)
        torch.save(_random_numbers(self.gang.device), unfinished / f"random-{self.gang.rank}.pt")
        self.gang.wait()
        if self.gang.first:
            content = {"identity": self.identity, "workers": self.gang.size, "step": learner.step, "state": state}
            (unfinished / "state.json").write_text(json.dumps(content))
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)
            self._clear(keep=final)
        self.last = time.monotonic()

    def load(self, learner: Learner) -> None:
        """Put a learner back to where the newest checkpoint has it."""
        content = self.gang.told(self._content() if self.gang.first else None)
        assert content, "newest() found it"
        folder = self.folder / f"step-{content['step']}"
        tensors = _tensors(learner)
        load(tensors, checkpoint_id=folder, no_dist=not self.gang.sharded)
        set_model_state_dict(learner.model, tensors["model"])
        set_optimizer_state_dict(learner.model, learner.optimizer, tensors["optimizer"], options=FLAT)
        if content["workers"] == self.gang.size:
            _draw_from(torch.load(folder / f"random-{self.gang.rank}.pt"), self.gang.device)
        learner.step = content["step"]

    def delete(self) -> None:
        if self.gang.first:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _newest(self) -> dict[str, Any] | None:
        content = self._content()
        if content is None or content["identity"] != self.identity:
            return None
        state: dict[str, Any] = content["state"]
        return state

    def _content(self) -> dict[str, Any] | None:
        found = sorted(self.folder.glob("step-*/state.json"), key=lambda path: int(path.parent.name.split("-")[1]))
        content: dict[str, Any] | None = json.loads(found[-1].read_text()) if found else None
        return content

    def _clear(self, keep: Path) -> None:
        for path in self.folder.iterdir():
            if path != keep:
                shutil.rmtree(path, ignore_errors=True)


def _tensors(learner: Learner) -> dict[str, Any]:
    optimizer = get_optimizer_state_dict(learner.model, learner.optimizer, options=FLAT)
    return {"model": get_model_state_dict(learner.model), "optimizer": optimizer}


def _random_numbers(device: torch.device) -> dict[str, torch.Tensor]:
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | cuda


def _draw_from(kept: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(kept["cpu"])
    if device.type == "cuda" and "cuda" in kept:
        torch.cuda.set_rng_state(kept["cuda"], device)
