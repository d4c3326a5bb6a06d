"""Ray on this machine for one run: its head below a supervisor, which leaves none of its processes, whatever is killed.

Ray listens on the loopback interface only, and asks for a token that stands in no file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.store import temporary
from sweep.study import InputError
from sweep.worker.group.node import SupervisedProcesses, python_path

OBJECT_STORE_BYTES = 256 * 2**20  # small: trials exchange nothing through it
START_SECONDS = 60.0  # Ray itself waits 30 s for its processes
TOO_SLOW = "timed out during startup"  # in the message of Ray, which has no class of error for it
ADDRESS_SPACE = 4 * 2**30  # bytes; 3.3 GiB measured in the driver, on two cores
NEEDED_BYTES = 50 * 2**20  # for Ray's logs and sockets
LONGEST_FOLDER = 22  # letters: a socket's whole path has at most 107, of which Ray's own part takes the rest
ENDED = "Ray ended"
WATCH_SECONDS = 0.2
UNWIND_SECONDS = 5.0  # for the interrupted thread to leave Ray
BAD_INPUT = 2  # the exit status of every fault that a user mends
MOST_LETTERS = 100  # of a cause


class RayEndedError(InputError):
    """Ray did not start, or ended while it was used: the line names the cause and Ray's logs."""


class _Head(SupervisedProcesses):
    grace_seconds = 0.0  # nothing in it has work to save

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = str(Path(__file__).with_name("head.py"))
        environment = os.environ | {"PYTHONPATH": python_path()}
        super().__init__(
            [sys.executable, "-P", script, str(folder), str(OBJECT_STORE_BYTES)], self.log, environment, []
        )

    @property
    def log(self) -> Path:
        return self.folder / "head.log"

    @property
    def logs(self) -> Path:
        """What to read after a fault: Ray's own logs, or what its head printed before it had any."""
        found = sorted(self.folder.glob("*/session_2*/logs"))
        return found[-1] if found else self.log

    def answer(self) -> dict[str, str]:
        try:
            answer: dict[str, str] = json.loads((self.folder / "answer.json").read_text())
        except OSError:
            return {}
        return answer

    def address(self) -> str:
        """Wait until Ray is up. Raises RayEndedError."""
        until = time.monotonic() + START_SECONDS
        while not (address := self.answer().get("address")):
            if self.poll() is not None or time.monotonic() > until:
                raise self.fault("Ray did not start", f"no answer in {START_SECONDS:.0f} s")
            time.sleep(0.05)
        return address

    def fault(self, what: str, cause: str = "") -> RayEndedError:
        cause = self.answer().get("fault") or self._end() or self._last_line() or cause
        limit = f" ({_file_limit()})" if _file_limit() else ""
        return RayEndedError(
            f"{what}: {cause[:MOST_LETTERS]}{limit}; its logs: {self.logs}; run the same command again"
        )

    def _end(self) -> str:
        status = self.outcome.failures[0].exit_status if self.outcome and self.outcome.failures else 0
        return f"its head process was killed by {signal.Signals(-status).name}" if status < 0 else ""

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.is_file() else []
        return lines[-1].strip() if lines else ""


def _limited(limit: int) -> int | None:
    """A limit of this process in bytes; None where there is none."""
    value = resource.getrlimit(limit)[0]
    return None if value == resource.RLIM_INFINITY else value


def _file_limit() -> str:
    limit = _limited(resource.RLIMIT_FSIZE)
    return f"files may have {limit // 1024} kB: ulimit -f" if limit is not None else ""


def _refuse_small_address_space() -> None:
    """Raises InputError: Ray would abort this process."""
    limit = _limited(resource.RLIMIT_AS)
    if limit is not None and limit < ADDRESS_SPACE:
        raise InputError(
            f"ulimit -v is {limit // 1024} kB, and a process that uses Ray takes {ADDRESS_SPACE // 1024} kB of "
            f"address space: raise it (ulimit -v unlimited), then run the same command again"
        )


@contextlib.contextmanager
def started() -> Iterator[str]:
    """Ray on this machine while the block runs; yields its address.

    Raises RayEndedError where it does not start, also where it has ended before the block did.
    """
    _refuse_small_address_space()
    place = _place()
    temporary.sweep(*_places())
    with _token():
        head, address = _start(place)
        with _watched(head):
            yield address
        head.stop()
        temporary.remove(head.folder)


def _start(place: Path) -> tuple[_Head, str]:
    """A second time where its own processes did not start in time, on a busy machine."""
    for last in (False, True):
        head = _Head(temporary.make("ray", place))
        try:
            return head, head.address()
        except BaseException as error:
            head.stop()
            if last or not isinstance(error, RayEndedError) or TOO_SLOW not in str(error):
                if not isinstance(error, RayEndedError):
                    temporary.remove(head.folder)
                raise
            temporary.remove(head.folder)
    raise AssertionError


@contextlib.contextmanager
def _watched(head: _Head) -> Iterator[None]:
    """Interrupt the block when Ray ends. Whatever the block raises then is Ray's end, and is raised as that."""
    leaving = threading.Event()
    watcher = threading.Thread(target=_watch, args=(head, leaving), name="almr-ray", daemon=True)
    watcher.start()
    try:
        yield
    except BaseException as error:
        leaving.set()
        ended = head.poll() is not None
        head.stop()
        if ended:
            raise head.fault(ENDED) from error
        if isinstance(error, InputError | KeyboardInterrupt):  # else Ray's logs may tell more
            temporary.remove(head.folder)
        raise
    finally:
        leaving.set()
        watcher.join()


def _watch(head: _Head, leaving: threading.Event) -> None:
    while head.poll() is None:
        if leaving.wait(WATCH_SECONDS):
            return
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    if leaving.wait(UNWIND_SECONDS):
        return
    # The main thread asks Ray what only Ray can answer: Ray would end this process with words of its own in a minute.
    print(f"almr: {head.fault(ENDED)}", file=sys.stderr, flush=True)
    os._exit(BAD_INPUT)


@contextlib.contextmanager
def _token() -> Iterator[None]:
    """Ray asks for a token of this run, unless the user chose otherwise."""
    if "RAY_AUTH_MODE" in os.environ:
        yield
        return
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in token}
    os.environ.update(token)
    _read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        _read_again()


def _read_again() -> None:
    """Ray remembers these variables from its import on."""
    raylet: Any = importlib.import_module("ray._raylet")
    if hasattr(raylet, "AuthenticationTokenLoader"):  # before Ray 2.52 there is no token
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _places() -> list[Path]:
    named = [os.environ[name] for name in ("RAY_TMPDIR",) if os.environ.get(name)]
    return [Path(place).absolute() for place in (*named, tempfile.gettempdir(), "/tmp", "/var/tmp")]  # noqa: S108


def _place() -> Path:
    """Where Ray's files go: the first folder that it can use. Raises InputError where there is none."""
    faults = []
    for place in dict.fromkeys(_places()):
        if not (fault := _unusable(place)):
            return place
        faults.append(f"{place}: {fault}")
    raise InputError(f"no folder for Ray's temporary files ({'; '.join(faults)}): name one in RAY_TMPDIR")


def _unusable(place: Path) -> str:
    if not str(place).isascii():
        return "its path is not ASCII"
    if len(str(place)) > LONGEST_FOLDER:
        return f"its path is longer than {LONGEST_FOLDER} letters"
    if not os.access(place, os.W_OK | os.X_OK):
        return "cannot be written"
    free = shutil.disk_usage(place).free
    return "" if free >= NEEDED_BYTES else f"{free // 2**20} MB free, {NEEDED_BYTES // 2**20} MB needed"
