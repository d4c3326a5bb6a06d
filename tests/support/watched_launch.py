"""A launch to watch: the files that `almr watch` reads of a bundle, and logs of its run as each trainer writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from analysis.fit_file.winner import Interval
from analysis.launch.plan.predicted_losses import PredictedChange, PredictedLosses
from analysis.launch.watching.predicted_path import LeftOut, PathPoint, PredictedPath

STEPS, BATCH, LENGTH, ALMR, LR = 80, 16, 128, 0.75, 1e-3
TOKENS = BATCH * LENGTH
BASE = {"original": 3.0, "additional": 5.0}
END = {"original": 0.1, "additional": -0.5}  # the predicted changes
SETTINGS = {
    "native": None,
    "llamafactory": "llamafactory.yaml",
    "torchtitan": "almr_launch.py",
    "megatron": "megatron_args.txt",
    "axolotl": "axolotl.yaml",
    "trl": "trl.yaml",
}


def bundle(folder: Path, trainer: str = "native", path: bool = True) -> Path:
    """A bundle in `folder`/launch with one format; returns the folder of the format."""
    at = folder / "launch" / trainer
    at.mkdir(parents=True)
    (at / "study.yaml").write_text(yaml.safe_dump(study()))
    (at / "start.sh").write_text(f'readonly checkpoints="${{ALMR_CHECKPOINTS:-../..}}"/{output(trainer)}\n')
    if name := SETTINGS[trainer]:
        sets = "--valid-data-path\ndata/held_out_original\ndata/held_out_additional\n--seed\n1\n"
        (at / name).write_text(sets if trainer == "megatron" else "")
    evidence = {"files": {}, "links": {}, "formats": [trainer], "predicted": predicted().model_dump(mode="json")}
    (at.parent / "evidence.json").write_text(json.dumps(evidence))
    if path:
        (at.parent / "predicted_path.json").write_text(predicted_path().model_dump_json())
    return at


def output(trainer: str) -> str:
    return f"checkpoints-demo-{trainer}-0123abcd"


def study() -> dict[str, Any]:
    return {
        "name": "demo-launch",
        "base_model": {"embedded": "tiny"},
        "corpora": {
            "original": {"embedded": "shakespeare", "language": "English"},
            "additional": {"embedded": "three-kingdoms", "language": "Chinese"},
        },
        "training": {"sequence_length": LENGTH, "tokens": STEPS * TOKENS, "global_batch_tokens": TOKENS},
        "grid": {"almr": [ALMR], "lr": [LR], "seeds": [0]},
        "resources": {"gpus_per_node": 0},
    }


def predicted() -> PredictedLosses:
    changes = {
        name: PredictedChange(label=name, change=change, interval=Interval(low=change - 0.02, high=change + 0.02))
        for name, change in END.items()
    }
    return PredictedLosses(
        model="tiny", almr=ALMR, lr=LR, tokens=STEPS * TOKENS, level=0.9, assumption=None, changes=changes
    )


def predicted_path() -> PredictedPath:
    shares = (0.25, 0.5, 0.75, 1.0)
    points = {
        name: tuple(PathPoint(change=s * end, low=s * end - 0.02, high=s * end + 0.02) for s in shares)
        for name, end in END.items()
    }
    return PredictedPath(
        model="tiny",
        almr=ALMR,
        lr=LR,
        tokens=STEPS * TOKENS,
        level=0.9,
        shares=shares,
        points=points,
        factor=2.0,
        left_out=LeftOut(trials=15, inside=14),
        assumption="its losses change as the trials' did",
    )


def losses(step: int, more: float = 0.0) -> dict[str, float]:
    """Held-out losses as predicted, and so much above."""
    return {name: BASE[name] + END[name] * step / STEPS + more for name in BASE}


def native(until: int = STEPS, more: Any = lambda step: 0.0, loss: Any = lambda step: 4.6 - 0.004 * step) -> list[str]:
    """Lines of metrics.jsonl; `more`: what a held-out loss is above the prediction, `loss`: the training loss."""
    lines: list[dict[str, Any]] = [{"step": 0, "tokens": 0, "held_out": dict(BASE)}]
    for step in (1, *range(10, until + 1, 10)):
        of_step = {"step": step, "tokens": TOKENS * step, "loss": loss(step), "lr": 1e-3, "grad_norm": 0.5}
        lines.append(of_step | {"seconds": 0.5 * step})
        if step % 20 == 0:
            lines.append({"step": step, "tokens": TOKENS * step, "held_out": losses(step, more(step))})
    return [json.dumps(line) for line in lines]


def transformers(until: int = STEPS, scale: float = 1.0) -> list[dict[str, Any]]:
    """The log_history of transformers' Trainer; `scale`: of its losses."""
    found: list[dict[str, Any]] = []
    for step in range(0, until + 1, 10):
        if step:
            of_step = {"loss": (4.6 - 0.004 * step) * scale, "grad_norm": 0.5, "learning_rate": 1e-3}
            found.append({"epoch": step / STEPS, "step": step} | of_step)
        if step % 20 == 0:
            found += [
                {"step": step, f"eval_{name}_loss": loss * scale, f"eval_{name}_runtime": 0.1}
                for name, loss in losses(step).items()
            ]
    return found


def llamafactory(until: int = STEPS, scale: float = 1.0) -> list[str]:
    """Lines of trainer_log.jsonl, which has no held-out losses of several sets."""
    return [
        json.dumps(
            {
                "current_steps": line["step"],
                "total_steps": STEPS,
                **({"loss": line["loss"], "lr": line["learning_rate"]} if "loss" in line else {}),
                "epoch": line["step"] / STEPS,
                "percentage": round(100 * line["step"] / STEPS, 2),
                "elapsed_time": f"0:00:{line['step'] // 2:02}",
                "remaining_time": "0:00:10",
            }
        )
        for line in transformers(until, scale)
        if "loss" in line or line["step"]
    ]


def torchtitan(until: int = STEPS) -> list[str]:
    found = [f"[titan] 2026-01-01 00:00:00,000 - root - INFO - {held_out(0, name)}" for name in BASE]
    for step in range(10, until + 1, 10):
        head = f"[titan] 2026-01-01 00:00:{step // 2:02},000 - root - INFO - "
        found.append(
            f"{head}\x1b[31mstep: {step:2}  \x1b[32mloss: {4.6 - 0.004 * step:8.5f}  \x1b[38;2;180;60;0mgrad_norm: "
            f"{0.5:7.4f}  \x1b[36mmemory:  0.10GiB(0.10%)  \x1b[34mtps: 4,096  \x1b[36mtflops: 0.10  mfu: 0.10%\x1b[39m"
        )
        if step % 20 == 0:
            found += [f"{head}{held_out(step, name)}" for name in BASE]
    return found


def held_out(step: int, name: str) -> str:
    return f"step {step}: loss on the held-out text of {name}: {losses(step)[name]:.4f}"


def megatron(until: int = STEPS) -> list[str]:
    found = megatron_held_out(0)
    for step in range(10, until + 1, 10):
        found.append(
            f" [2026-01-01 00:00:{step // 2:02}] iteration {step:8d}/{STEPS:8d} | consumed samples: {step * BATCH} | "
            f"elapsed time per iteration (ms): 500.0 | learning rate: 1.000000E-03 | global batch size: {BATCH:5d} | "
            f"lm loss: {4.6 - 0.004 * step:.6E} | loss scale: 1.0 | grad norm: 0.500 | "
            f"number of skipped iterations:   0 | number of nan iterations:   0 |"
        )
        found += megatron_held_out(step) if step % 20 == 0 else []
    return found


def megatron_held_out(step: int) -> list[str]:
    return [
        f" validation-{i} loss at iteration {step} | lm loss value: {loss:.6E} | lm loss PPL: {2.0:.6E} | "
        for i, loss in enumerate(losses(step).values())
    ]


def event_file(folder: Path, values: list[tuple[int, dict[str, float]]], suffix: str = "") -> None:
    """As torch writes it: tensorboardX would change the blanks in a name."""
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary

    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for step, named in values:
            for name, value in named.items():
                writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, simple_value=value)]), step)
