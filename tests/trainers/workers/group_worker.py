"""One of several workers, under torchrun: runs the trials of a plan (JSON) one after the other, and notes what it held.

A trial with `stop_after` ends with that checkpoint (1: the first), as by a preemption.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from sweep.study import Ingredients, Trial, study_file
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.learner import Learner
from trainers.loop.out_of_memory import MicroBatchHalvedError
from trainers.trials import cpt

save, load = Checkpoints.save, cpt.load_model


class PreemptedError(Exception):
    pass


def main(plan: Path) -> None:
    for each in json.loads(plan.read_text()):
        run(each)


def run(each: dict[str, Any]) -> None:
    held: dict[str, int] = {}
    folder, left = Path(each["folder"]), [each.get("stop_after")]

    def stopping(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise PreemptedError

    def measured(*arguments: Any) -> Any:
        model = load(*arguments)
        parameters = list(model.parameters())
        held["whole"] = sum(p.numel() for p in parameters)
        held["here"] = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in parameters)
        held["largest"] = max(p.to_local().numel() for p in parameters if isinstance(p, DTensor))
        return model

    Checkpoints.save, cpt.load_model = stopping, measured
    Learner._backward = failing if each.get("out_of_memory") else backward
    # A process of torchrun trains one trial; a second group on the same store would meet the first one's keys.
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": str(each["port"])}
    study, trial = study_file.load(Path(each["study"])), Trial.model_validate(each["trial"])
    ingredients = Ingredients.model_validate_json(Path(each["ingredients"]).read_text())
    try:
        record = cpt.run_trial(study, trial, ingredients, folder)
    except (PreemptedError, MicroBatchHalvedError) as error:
        held["raised"] = type(error).__name__
    else:
        assert (record is None) == (os.environ["RANK"] != "0")
        if record:
            (folder / "record.json").write_text(record.model_dump_json())
    (folder / f"held-{os.environ['RANK']}.json").write_text(json.dumps(held))


backward = Learner._backward


def failing(self: Learner, batch: Any, predicted: float) -> float:
    total = backward(self, batch, predicted)
    if self.micro_batch.sequences is None and self.step == 1:
        raise torch.OutOfMemoryError("injected")
    return total


if __name__ == "__main__":
    faulthandler.dump_traceback_later(float(os.environ.get("HANG", "240")), exit=True)  # a hang says where
    main(Path(sys.argv[1]))
