"""Lines of a log: JSON Lines of our own trainer and of LLaMA-Factory, and what torchtitan and Megatron-LM print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.launch.watching.logs import names
from analysis.launch.watching.logs.events import HELD_OUT, MOST_STEPS, LogEvent, RunLog, event
from sweep.study.files import regular

LONGEST = 2**20  # bytes of a line; a longer one comes in parts, none of which is a line of a log
MARKS = (b"{", b"loss", b"iteration")  # one of them is in every line that is read
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")
STEP = r"(\d{1,12})"
NUMBER = r"([-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
TITAN = re.compile(rf"\bstep:\s*{STEP}\s+loss:\s*{NUMBER}\s+grad_norm:\s*{NUMBER}(?=\s)")
TITAN_HELD_OUT = re.compile(rf"\bstep {STEP}: loss on the held-out text of (\S.*?): {NUMBER}$")
MEGATRON = re.compile(rf"\biteration\s+{STEP}/\s*{STEP} \|(.*\|)\s*$")
LOSS_AT = re.compile(r"\bloss at iteration\b")
AGAIN = re.compile(r"\biteration\s+\d+/")
MEGATRON_HELD_OUT = re.compile(rf"\bvalidation-{STEP} loss at iteration {STEP}\b.*\| lm loss value: {NUMBER} \|")
PARTS = {"lm loss": "loss", "learning rate": "lr", "grad norm": "grad_norm"}
STEPLESS = re.compile(r"\{'(?:loss|eval_[^']*loss)': ")  # what transformers prints


def read(path: Path) -> RunLog:
    """Raises InputError for what is no regular file, and FileNotFoundError."""
    log = RunLog()
    log.add(_events(path, log))
    return log


def _events(path: Path, log: RunLog) -> Iterator[LogEvent]:
    with regular.opened(path) as file:
        for raw in iter(lambda: file.readline(LONGEST), b""):
            if not raw.endswith(b"\n"):  # its last line may still be written: half a number is another number
                return
            if not any(mark in raw for mark in MARKS):  # nearly all of what a trainer prints
                continue
            text = COLOUR.sub("", raw.decode("utf-8", "replace")).strip()
            found = line(text)
            if found:
                yield found
            elif text.startswith("{") or "loss" in text:
                log.without_step += bool(STEPLESS.search(text))
                log.left_out += text.startswith('{"')


def line(text: str) -> LogEvent | None:
    """The event of a line; None for any other text."""
    if text.startswith("{"):
        return _json(text)
    return _titan(text) or _megatron(text)


def _json(text: str) -> LogEvent | None:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return of_object(found) if isinstance(found, dict) else None


def of_object(logged: dict[str, Any]) -> LogEvent | None:
    """The event of a JSON object. Lines of a branch to a shorter horizon belong to no launch."""
    if "horizon" in logged:
        return None
    total = logged.get("total_steps")
    stated = {"total": total} if type(total) is int and 0 < total <= MOST_STEPS else {}
    return event(names.step_of(logged), names.values(logged), **stated)


def _titan(text: str) -> LogEvent | None:
    if found := TITAN.search(text):
        return event(
            int(found[1]), {"loss": _number(found[2]), "grad_norm": _number(found[3])}, at=_at(text[: found.start()])
        )
    if found := TITAN_HELD_OUT.search(text):
        return event(int(found[1]), {f"{HELD_OUT}{found[2]}": _number(found[3])}, at=_at(text[: found.start()]))
    return None


def _megatron(text: str) -> LogEvent | None:
    if len(LOSS_AT.findall(text)) > 1:  # a line that a crash cut, and the first one of the next start
        return None
    if found := MEGATRON_HELD_OUT.search(text):
        return event(int(found[2]), {f"{HELD_OUT}#{found[1]}": _number(found[3])})
    found = MEGATRON.search(text)
    if not found or AGAIN.search(found[3]):  # so too
        return None
    parts = dict(part.strip().rpartition(":")[::2] for part in found[3].split("|") if ":" in part)
    values = {own: _number(parts[name].strip()) for name, own in PARTS.items() if _is_number(parts.get(name, ""))}
    if _is_number(per_step := parts.get("elapsed time per iteration (ms)", "")):
        values["step_seconds"] = _number(per_step.strip()) / 1000
    if parts.get("number of nan iterations", "0").strip() not in ("0", ""):
        values["loss"] = float("nan")
    batch = parts.get("global batch size", "").strip()
    stated = {"batch": int(batch)} if re.fullmatch("[0-9]{1,12}", batch) else {}
    return event(int(found[1]), values, at=_at(text[: found.start()]), total=int(found[2]), **stated)


def _is_number(text: str) -> bool:
    return re.fullmatch(NUMBER, text.strip(), re.IGNORECASE) is not None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _at(text: str) -> float | None:
    """The last time before what was logged. Only differences are used: its zone does not matter."""
    found = TIME.findall(text)
    try:
        return datetime.fromisoformat("T".join(found[-1])).timestamp() if found else None
    except ValueError:
        return None
