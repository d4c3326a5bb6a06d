"""Starts the processes of one node of a worker group, and leaves none of them when it ends. Linux, standard library.

    python -m sweep.worker.group.supervisor '{"command": [...], "log": PATH, "grace_seconds": 10, "locks": [PATH, ...]}'

Standard input is a pipe that nothing is written to. It closes when its holder wants the processes stopped, and when the
holder dies. The processes then get SIGTERM, and SIGKILL after the grace period. When all are gone, standard output gets
one line of JSON: `{"exit_status": N, "stopped": bool}`.
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
LOCK_SECONDS = 120.0  # how long to wait for the processes of an earlier trial to end
LOCK_HELD = 75  # exit status: EX_TEMPFAIL of sysexits.h


def main() -> None:
    request = json.loads(sys.argv[1])
    _detach()
    _adopt_descendants()
    with contextlib.ExitStack() as stack:
        free = all(stack.enter_context(_locked(Path(path))) for path in request["locks"])
        outcome = _run(request) if free else {"exit_status": LOCK_HELD, "stopped": False}
    with contextlib.suppress(BrokenPipeError):  # the holder was killed
        print(json.dumps(outcome), flush=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends: the supervisor itself may be killed."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _detach() -> None:
    """Fork, because Ray kills the direct children of a worker that ends. The parent waits for the child, and kills what
    that left where it was killed itself.
    """
    _adopt_descendants()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        _kill_descendants()
        os._exit(0)


def _adopt_descendants() -> None:
    """Descendants that lose their parent become children of this process, so that it can kill them."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a file's lock; yields False where another supervisor keeps it, which it does until its processes ended."""
    with path.open("a") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while not (held := _try_lock(lock)) and time.monotonic() < deadline and not _stop_requested(0.1):
            pass
        yield held


def _try_lock(file: IO[str]) -> bool:
    """Whether the lock is held now. Without locks in the file system it counts as held: the processes of an earlier
    trial may then still hold memory of the GPU.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"no lock on the GPUs: the file system of {file.name} has none ({error})", file=sys.stderr)
    return True


def _stop_requested(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _run(request: dict[str, Any]) -> dict[str, Any]:
    with Path(request["log"]).open("a") as log:
        process = subprocess.Popen(  # noqa: S603
            request["command"],
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
        _terminate(process, request["grace_seconds"])
    _kill_descendants()
    return {"exit_status": process.returncode, "stopped": stopped}


def _terminate(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kill_descendants() -> None:
    """Kill the children until none is left: descendants become children when their parents die."""
    while left := children():
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def children() -> list[int]:
    """The child processes of this one."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == os.getpid()]


def _parent(pid: int) -> int | None:
    try:
        # "pid (name) state parent ...", and the name may hold any byte, a part of a letter too
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


if __name__ == "__main__":
    main()
