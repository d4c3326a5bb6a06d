"""Reads what torchtitan leaves: TensorBoard's files, in which numbers have 24 bits, and the model of its last step."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SECONDS, MEMORY = "time_metrics/end_to_end(s)", "memory/max_active(GiB)"  # of each step, as every step is logged
LOSS, NORM, LR, HELD_OUT = "loss_metrics/global_avg_loss", "grad_norm", "lr/", "held_out/"


def read(folder: Path, checkpoints: Path, question: dict[str, Any]) -> dict[str, Any]:
    [run] = [path.parent for path in checkpoints.glob("*/tb")]
    logged = scalars(run / "tb")
    return {
        "steps": [
            {
                "step": step,
                "loss": values[LOSS],
                "lr": max(value for name, value in values.items() if name.startswith(LR)),
                "grad_norm": values[NORM],
            }
            for step, values in sorted(logged.items())
            if LOSS in values
        ],
        "before": {
            name.removeprefix(HELD_OUT): value for name, value in logged.get(0, {}).items() if name.startswith(HELD_OUT)
        },
        "model": str(run / "checkpoint" / f"step-{question['steps']}"),
        "versions": f"torchtitan {version('torchtitan')}, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "training_seconds": sum(values.get(SECONDS, math.nan) for values in logged.values() if LOSS in values),
        "peak_memory_bytes": peak_memory_bytes(logged),
    }


def peak_memory_bytes(logged: dict[int, dict[str, float]]) -> int | None:
    """Of a GPU; on a CPU it measures none."""
    peaks = [values[MEMORY] for values in logged.values() if MEMORY in values]
    return round(max(peaks) * 2**30) if peaks and torch.cuda.is_available() else None


def scalars(folder: Path) -> dict[int, dict[str, float]]:
    """The values of each step by name. A run that was resumed has several files: the newest value counts."""
    found: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("*/events*"), key=lambda path: path.stat().st_mtime):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
        for name in events.Tags()["scalars"]:
            for one in events.Scalars(name):
                found.setdefault(one.step, {})[name] = one.value
    return found
