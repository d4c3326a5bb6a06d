"""The names that trainers give to what they log, in JSON, TensorBoard and W&B, and ours for the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from analysis.launch.watching.logs.events import HELD_OUT, Values

STEPS = ("trial_step", "train/global_step", "step", "current_steps", "global_step", "iteration", "_step")
PLAIN = {
    "loss": "loss",
    "train/loss": "loss",
    "loss_metrics/global_avg_loss": "loss",
    "lm loss": "loss",
    "lr": "lr",
    "train/lr": "lr",
    "learning_rate": "lr",
    "train/learning_rate": "lr",
    "learning-rate": "lr",
    "grad_norm": "grad_norm",
    "train/grad_norm": "grad_norm",
    "grad-norm": "grad_norm",
    "tokens": "tokens",
    "train/tokens": "tokens",
    "seconds": "seconds",
    "train/seconds": "seconds",
    "iteration-time": "step_seconds",
    "time_metrics/end_to_end(s)": "step_seconds",
}
# transformers' eval_NAME_loss and eval/NAME_loss, Megatron's sets by number, torchtitan's and our held_out/NAME
SETS = re.compile(r"eval[_/](?P<of_trainer>.+)_loss|lm loss validation-(?P<number>\d{1,9})|held_out/(?P<own>.+)")
LR_OF_PART = re.compile(r"lr/.+")  # torchtitan: of each part of the optimizer
DURATION = re.compile(r"(?:(\d{1,9}) days?, )?(\d{1,9}):(\d\d):(\d\d)(?:\.\d+)?")


def ours(name: str) -> str | None:
    """Our name of a value; None for what a watch does not read."""
    if name in PLAIN:
        return PLAIN[name]
    if LR_OF_PART.fullmatch(name):
        return "lr"
    found = SETS.fullmatch(name)
    if not found:
        return None
    number = found["number"]
    named = f"#{number}" if number is not None else (found["own"] or found["of_trainer"].removeprefix("validation_"))
    return f"{HELD_OUT}{named}"


def values(logged: Mapping[str, Any]) -> Values:
    """The values of a line by our names. What is null was not finite: JSON has no NaN."""
    found: Values = {}
    for name, value in logged.items():
        if name == "held_out" and isinstance(value, dict):
            found |= {f"{HELD_OUT}{of}": as_number(loss) for of, loss in value.items() if is_value(loss)}
        elif name == "elapsed_time" and isinstance(value, str):
            found |= seconds(value)
        elif (own := ours(name)) and is_value(value):
            found[own] = max(as_number(value), found[own]) if own == "lr" and own in found else as_number(value)
    return found


def is_value(value: Any) -> bool:
    """A number, a null, or the text with which some loggers write what is not finite."""
    if isinstance(value, str):
        return value in ODD
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


ODD = {"NaN": math.nan, "nan": math.nan, "Infinity": math.inf, "inf": math.inf, "-Infinity": -math.inf}


def as_number(value: Any) -> float:
    if isinstance(value, str):
        return ODD[value]
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def step_of(logged: Mapping[str, Any]) -> Any:
    return next((logged[name] for name in STEPS if name in logged), None)


def seconds(duration: str) -> Values:
    """Of LLaMA-Factory's elapsed_time: 0:10:04, or 1 day, 4:06:56."""
    found = DURATION.fullmatch(duration)
    if not found:
        return {}
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return {"seconds": float(((days * 24 + hours) * 60 + minutes) * 60 + rest)}
