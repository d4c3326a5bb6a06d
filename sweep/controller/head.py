"""Ray's head process of a run on this machine. It starts Ray, says where, and ends when one of Ray's processes does.

    python head.py FOLDER OBJECT_STORE_BYTES

Ray's files are below FOLDER. `answer.json` there gets `{"address": ...}` once Ray is up, and `{"fault": ...}` when it
has ended or did not start. A supervisor (sweep.worker.group.supervisor) leaves none of Ray's processes when this one
ends. A script, not a module: importing our package would import Ray Tune.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from sweep.worker.group.supervisor import children

OF_RAY = "r"  # in FOLDER, which stays closed to other users: Ray opens its own folder to all
WATCHED = ("raylet", "gcs_server")  # the others are theirs, or Ray starts them again


def main() -> None:
    folder, object_store_bytes = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with_ray, args=(folder,), daemon=True).start()
    try:
        import ray

        ray.init(
            address="local",
            _temp_dir=str(folder / OF_RAY),
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        _answer(folder, "address", ray.get_runtime_context().gcs_address)
    except BaseException as error:
        _end(folder, " ".join(str(error).split()) or type(error).__name__)
    signal.pause()


def _end_with_ray(folder: Path) -> None:
    """End this process when one of Ray's has ended, also while Ray starts, which would wait for it."""
    seen: dict[int, tuple[int, str]] = {}  # by what tells of its end: process id and name
    while True:
        starting = len(seen) < len(WATCHED)
        if starting:
            seen |= _watched(folder, {pid for pid, _ in seen.values()})
        for ended in select.select([*seen], [], [], 0.1 if starting else None)[0]:  # asks nothing while Ray runs
            pid, name = seen[ended]
            _end(folder, f"{name} {_ended(pid)}")


def _watched(folder: Path, known: set[int]) -> dict[int, tuple[int, str]]:
    """Of the processes that Ray has started and that are not known yet, those that are watched."""
    new = [(pid, name) for pid in children() if pid not in known and (name := _name(pid)) in WATCHED]
    try:
        return {os.pidfd_open(pid): (pid, name) for pid, name in new}
    except ProcessLookupError:
        _end(folder, "a process ended as it started")


def _ended(pid: int) -> str:
    """How a child process ended, which Ray itself may have been told already."""
    try:
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return "ended"
    if state is None:
        return "ended"
    if state.si_code == os.CLD_EXITED:
        return f"ended with status {state.si_status}"
    return f"was killed by {signal.Signals(state.si_status).name}"


def _end(folder: Path, fault: str) -> NoReturn:
    _answer(folder, "fault", fault)
    os._exit(1)  # Ray would wait for what is gone


def _answer(folder: Path, name: str, value: str) -> None:
    """Written whole: a reader may look at any moment."""
    unfinished = folder / "answer.unfinished"
    unfinished.write_text(json.dumps({name: value}))
    unfinished.replace(folder / "answer.json")


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
