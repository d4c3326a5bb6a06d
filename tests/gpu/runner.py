"""Runs the parts of a measurement: each as processes of its own with a time limit, its rows written as they come.

`results.json` holds what every part measured. It is written after each part, so that a later call goes on: a part that
is done is not run again.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.study.files.atomic import write_atomically

GRACE_SECONDS = 3.0  # between SIGTERM and SIGKILL at a part's limit
LEAST_SECONDS = 5.0  # a part is not started with less time than this
REASON_LENGTH = 300

Row = dict[str, Any]  # `measured`: what; `values`: by name, units in it; `failed`: why there are none, or what is wrong


@dataclass(frozen=True)
class Part:
    """One part: `command` gets the file for its rows as last argument; `limit` in seconds."""

    name: str
    command: tuple[str, ...]
    limit: float


@dataclass(frozen=True)
class Results:
    """The file of all parts' results. `machine`: results of another machine are not gone on with."""

    file: Path
    machine: dict[str, Any]

    def read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            if found["machine"].get("device") == self.machine["device"]:
                return found
        return {"machine": self.machine, "parts": {}}

    def done(self, name: str) -> bool:
        return bool(self.read()["parts"].get(name, {}).get("status") == "done")

    def keep(self, name: str, outcome: dict[str, Any]) -> dict[str, Any]:
        found = self.read()
        found["parts"][name] = outcome
        write_atomically(self.file, json.dumps(found, indent=2, ensure_ascii=False))
        return found


def run(
    parts: Iterable[Part],
    results: Results,
    folder: Path,
    seconds: float,
    again: Callable[[Part], bool] = lambda part: False,
    tell: Callable[[str, dict[str, Any]], None] = lambda name, found: None,
) -> dict[str, Any]:
    """Run the parts that are not done, within `seconds` for all together. `tell` is called after each with its name and
    all results.
    """
    deadline = time.monotonic() + seconds
    for part in parts:
        if results.done(part.name) and not again(part):
            continue
        left = deadline - time.monotonic()
        if left < min(LEAST_SECONDS, part.limit):
            outcome: dict[str, Any] = {"status": "not run", "reason": f"the {seconds:g} s for all parts were over"}
        else:
            outcome = _carry_out(part, min(part.limit, left), folder)
        tell(part.name, results.keep(part.name, outcome))
    return results.read()


def _carry_out(part: Part, limit: float, folder: Path) -> dict[str, Any]:
    rows, log = folder / f"{part.name}.rows.jsonl", folder / f"{part.name}.log"
    for file in (rows, log):
        file.unlink(missing_ok=True)
    began = time.monotonic()
    status = _status([*part.command, str(rows)], log, limit)
    outcome: dict[str, Any] = {"seconds": round(time.monotonic() - began, 1), "limit": limit, "rows": read_rows(rows)}
    if status is None:
        return outcome | {"status": "stopped", "reason": f"stopped at its limit of {limit:.0f} s"}
    if status:
        return outcome | {"status": "failed", "reason": f"exit status {status}: {_last_line(log)}"[:REASON_LENGTH]}
    return outcome | {"status": "done"}


def _status(command: list[str], log: Path, limit: float) -> int | None:
    """The command's exit status; None where it was stopped at the limit. None of its processes is left."""
    request = {"command": command, "log": str(log), "grace_seconds": GRACE_SECONDS, "locks": []}
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "sweep.worker.group.supervisor", json.dumps(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert supervisor.stdin
    assert supervisor.stdout
    try:
        select.select([supervisor.stdout], [], [], limit)
    finally:
        supervisor.stdin.close()  # from now on it stops whatever is left
    answer = supervisor.stdout.read()
    supervisor.wait()
    ended = json.loads(answer) if answer else {"exit_status": -9, "stopped": False}
    return None if ended["stopped"] else int(ended["exit_status"])


def write_row(file: Path, measured: str, values: dict[str, Any] | None = None, failed: str | None = None) -> None:
    """Add a row. It is there for the results also where the part is stopped afterwards."""
    row: Row = {"measured": measured} | ({"values": values} if values else {}) | ({"failed": failed} if failed else {})
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_rows(file: Path) -> list[Row]:
    """The rows of a part; a last one that was cut off is left out."""
    found: list[Row] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:REASON_LENGTH]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1].strip() if lines else "it printed nothing"
