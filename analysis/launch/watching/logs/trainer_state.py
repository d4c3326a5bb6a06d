"""`trainer_state.json` of transformers' Trainer, which LLaMA-Factory, axolotl and TRL leave in every checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.launch.watching.logs import text
from analysis.launch.watching.logs.events import MOST_STEPS, RunLog, known
from sweep.study import InputError
from sweep.study.files import regular

NAME = "trainer_state.json"
AGAIN = "the trainer writes it with its next checkpoint: look again then, or leave it out"


def read(path: Path) -> RunLog:
    """The whole history of a run up to a checkpoint. Raises InputError naming the file where it is none."""
    parsed = _parsed(path)
    content: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    history = content.get("log_history")
    if not isinstance(history, list):
        raise InputError(f"{path}: it has no log_history, so it is no {NAME} of a trainer: leave it out")
    log = RunLog()
    log.add(known(text.of_object(line) for line in history if isinstance(line, dict)))
    steps = content.get("max_steps")
    log.totals |= {steps} if type(steps) is int and 0 < steps <= MOST_STEPS else set()
    return log


def _parsed(path: Path) -> object:
    """JSON with NaN: transformers writes what is not finite as Python does."""
    try:
        found: object = json.loads(regular.content(path))
    except RecursionError:
        raise InputError(f"{path}: no {NAME} (nested too deeply): leave it out") from None
    except regular.UnreadableFileError:
        raise
    except ValueError:
        raise InputError(f"{path}: cut off, or no JSON: {AGAIN}") from None
    return found
