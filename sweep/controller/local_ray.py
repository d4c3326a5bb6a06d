"""Ray on this machine for one run: its head below a supervisor, which leaves none of its processes, whatever is killed.

Ray listens on the loopback interface only, and asks for a token that stands in no file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.controller import needs
from sweep.store import temporary
from sweep.store.interruption import interrupt_main_thread
from sweep.study import InputError
from sweep.worker.group.node import SupervisedProcesses, python_path

OBJECT_STORE_BYTES = 256 * 2**20  # small: trials exchange nothing through it
START_SECONDS = 60.0  # Ray itself waits 30 s for its processes
TOO_SLOW = "timed out during startup"  # in the message of Ray, which has no class of error for it
ENDED = "Ray ended"
WATCH_SECONDS = 0.2
UNWIND_SECONDS = 5.0  # for the interrupted thread to leave Ray
BAD_INPUT = 2  # the exit status of every fault that a user mends
MOST_LETTERS = 100  # of a cause


_begun: list[_Head] = []  # at most one, which no block uses yet


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
        while self.poll() is None and time.monotonic() < until:
            if address := self.answer().get("address"):
                return address
            time.sleep(0.05)
        raise self.fault("Ray did not start", f"no answer in {START_SECONDS:.0f} s")

    def fault(self, what: str, cause: str = "") -> RayEndedError:
        cause = self.answer().get("fault") or self._end() or self._last_line() or cause
        limit = f" ({needs.file_limit()})" if needs.file_limit() else ""
        return RayEndedError(
            f"{what}: {cause[:MOST_LETTERS]}{limit}; its logs: {self.logs}; run the same command again"
        )

    def _end(self) -> str:
        status = self.outcome.failures[0].exit_status if self.outcome and self.outcome.failures else 0
        return f"its head process was killed by {signal.Signals(-status).name}" if status < 0 else ""

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.is_file() else []
        return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def ahead(address: str | None) -> Iterator[None]:
    """Begin to start Ray on this machine, for the first `started` in the block.

    Nothing for a cluster at an address, or where a block around this one has begun already.
    """
    if address or _begun:
        yield
        return
    with _token():
        _begun.append(_begin(needs.place()))
        try:
            yield
        finally:
            while _begun:
                _drop(_begun.pop())


@contextlib.contextmanager
def started() -> Iterator[str]:
    """Ray on this machine while the block runs; yields its address.

    Raises RayEndedError where it does not start, also where it has ended before the block did.
    """
    with _token():
        _read_again()
        head, address = _start(_begun.pop() if _begun else _begin(needs.place()))
        with _watched(head):
            yield address
        _drop(head)


def _begin(place: Path) -> _Head:
    needs.refuse_small_address_space()
    return _Head(temporary.make("ray", place))


def _drop(head: _Head) -> None:
    head.stop()
    temporary.remove(head.folder)


def _start(head: _Head) -> tuple[_Head, str]:
    """A second time where its own processes did not start in time, on a busy machine."""
    try:
        return head, _address(head)
    except RayEndedError as error:
        if TOO_SLOW not in str(error):
            raise
    temporary.remove(head.folder)
    head = _begin(head.folder.parent)
    return head, _address(head)


def _address(head: _Head) -> str:
    """None of its processes is left where this raises; its logs are, where a message names them."""
    try:
        return head.address()
    except RayEndedError:
        head.stop()
        raise
    except BaseException:
        _drop(head)
        raise


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
        if isinstance(error, InputError | KeyboardInterrupt | BrokenPipeError):  # else Ray's logs may tell more
            temporary.remove(head.folder)
        raise
    finally:
        leaving.set()
        watcher.join()


def _watch(head: _Head, leaving: threading.Event) -> None:
    while head.poll() is None:
        if leaving.wait(WATCH_SECONDS):
            return
    if leaving.is_set():  # it ended as the block did
        return
    interrupt_main_thread()
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
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        if "ray" in sys.modules:
            _read_again()


def _read_again() -> None:
    """Ray remembers these variables from its import on."""
    raylet: Any = importlib.import_module("ray._raylet")
    if hasattr(raylet, "AuthenticationTokenLoader"):  # before Ray 2.52 there is no token
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
