"""Starts one node's processes of a gang and lets none of them outlive it. Linux only, standard library only.

    python -m sweep.worker.group.keeper '{"command": [...], "log": PATH, "grace_seconds": 10, "claims": [PATH, ...]}'

Standard input is a pipe that is never written to: it closes when whoever holds it wants the processes stopped, and
also when that process dies in whatever way. Then they get SIGTERM, and after the grace period SIGKILL. Standard output
gets one line of JSON, `{"exit_status": N, "stopped": bool}`, once every one of them is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
CLAIM_SECONDS = 120.0  # what an earlier trial may take to be gone
CLAIM_HELD = 75  # EX_TEMPFAIL of sysexits.h


def main() -> None:
    asked = json.loads(sys.argv[1])
    _apart()
    # Ranks that lose their parent become children of this process, so that none escapes it.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.ExitStack() as stack:
        free = all(stack.enter_context(_claimed(Path(path))) for path in asked["claims"])
        outcome = _kept(asked) if free else {"exit_status": CLAIM_HELD, "stopped": False}
    print(json.dumps(outcome), flush=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, in case its keeper is killed."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _apart() -> None:
    """Ray kills the direct children of a worker that ends. The one that it knows only waits for the real keeper."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Hold a file's lock; False where another keeper still has it. It is free once that keeper's processes are gone."""
    with path.open("a") as lock:
        deadline = time.monotonic() + CLAIM_SECONDS
        while not (held := _locked(lock)) and time.monotonic() < deadline and not _asked_to_stop(0.1):
            pass
        yield held


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _asked_to_stop(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _kept(asked: dict[str, Any]) -> dict[str, Any]:
    with Path(asked["log"]).open("a") as log:
        process = subprocess.Popen(  # noqa: S603
            asked["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # safe: this process has one thread
        )
    ended = os.pidfd_open(process.pid)
    select.select([sys.stdin, ended], [], [])
    stopped = process.poll() is None
    if stopped:
        _terminate(process, asked["grace_seconds"])
    _leave_none()
    return {"exit_status": process.returncode, "stopped": stopped}


def _terminate(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _leave_none() -> None:
    """Kill until there is no descendant left: whoever loses its parent comes here."""
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _children() -> list[int]:
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == os.getpid()]


def _parent(pid: int) -> int | None:
    try:
        # "pid (name) state parent ...", and the name may hold anything
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


if __name__ == "__main__":
    main()
