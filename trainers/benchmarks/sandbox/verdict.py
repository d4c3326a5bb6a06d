"""Whether a program that a model wrote passes its test: two processes in sandboxes, and this one between them.

The program's process only answers what it is asked: what it prints, how and when it ends, and what it changes in its
own interpreter decide nothing. The judge's process never runs the program's code.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from trainers.benchmarks.sandbox import engines, system_calls
from trainers.benchmarks.sandbox.engines import Sandbox

SECONDS = 10.0  # for a program with its test
MEMORY_BYTES = 2 * 2**30  # of all its processes together
LOOK_SECONDS = 0.2
END_SECONDS = 30.0  # until the kernel has ended a namespace
MESSAGE_BYTES = 2**24  # of a call's arguments or of its result
READY = b'{"value": null}\n'  # the program's first message: compared as bytes, for it may be anything
LIMITS = {
    "RLIMIT_CPU": 10,
    "RLIMIT_AS": MEMORY_BYTES,
    "RLIMIT_FSIZE": 2**20,
    "RLIMIT_NOFILE": 256,
    "RLIMIT_NPROC": 64,
    "RLIMIT_CORE": 0,
}


def passes(program: str, test: str, sandbox: Sandbox) -> bool:
    """Whether the test runs to its end with what the program defines, within the limits."""
    with ExitStack() as stack:
        answers, judge = (stack.enter_context(_started(role, sandbox)) for role in ("program", "judge"))
        stack.enter_context(_watched([answers, judge]))
        for side in (answers, judge):
            _ = side.first  # while it surely lives: it waits for its text
        try:
            answers.send({"program": program})
            judge.send({"test": test})
            return answers.line() == READY and _judged(answers, judge)
        except (OSError, ValueError):  # a process ended, or sent what is no message
            return False


def _judged(answers: Side, judge: Side) -> bool:
    """Hand each question of the judge to the program, and the answer back, until the judge's verdict."""
    while True:
        asked = judge.line()
        message = json.loads(asked)
        if "verdict" in message:
            return message["verdict"] is True
        answers.write(asked)
        judge.write(answers.line())


@contextmanager
def _started(role: str, sandbox: Sandbox) -> Iterator[Side]:
    """A process of the sandbox, of which nothing is left afterwards."""
    user = engines.own_user() if sandbox.user is not None else None
    text = f"{_inside()}\n\nmain({role!r}, {LIMITS!r}, {user!r})\n"
    with ExitStack() as files:
        options, passed, told = _files(sandbox, files)
        command = engines.start(sandbox)
        process = subprocess.Popen(  # noqa: S603
            [*command[:1], *options, *command[1:], text],
            env=engines.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,
        )
    side = Side(process, told)
    try:
        yield side
    finally:
        side.end()


def _files(sandbox: Sandbox, files: ExitStack) -> tuple[list[str], list[int], int | None]:
    """For bubblewrap: the options and the open files that give it its filter of system calls, and that tell the number
    of its first process. `files` closes them.
    """
    if not sandbox.is_bubblewrap:
        return [], [], None
    told, tells = os.pipe()
    files.callback(os.close, tells)
    options, passed = ["--info-fd", str(tells)], [tells]
    if rules := system_calls.refusing():
        file = os.memfd_create("system calls")
        files.callback(os.close, file)
        os.write(file, rules)
        os.lseek(file, 0, os.SEEK_SET)
        options, passed = [*options, "--seccomp", str(file)], [*passed, file]
    return options, passed, told


class Side:
    """A process in a sandbox, with which this one exchanges messages. `told`: where bubblewrap tells its child."""

    def __init__(self, process: subprocess.Popen[bytes], told: int | None) -> None:
        self.process, self.told = process, told

    def send(self, message: Any) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def line(self) -> bytes:
        """The next message. Raises ValueError at the end, and for one that is too long."""
        assert self.process.stdout
        line = self.process.stdout.readline(MESSAGE_BYTES)
        if not line.endswith(b"\n"):
            raise ValueError("no whole message")
        return line

    @cached_property
    def first(self) -> int | None:
        """A handle of the first process of its process namespace: the kernel ends all others before that is gone. None
        where there is none.
        """
        told = b""
        while self.told is not None and b"}" not in told and (part := os.read(self.told, 4096)):
            told += part
        try:
            return os.pidfd_open(int(json.loads(told)["child-pid"])) if b"}" in told else None
        except OSError:  # it has ended
            return None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if self.first is not None:
                signal.pidfd_send_signal(self.first, signal.SIGKILL)
        with suppress(ProcessLookupError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        if self.first is not None:
            select.select([self.first], [], [], END_SECONDS)
            os.close(self.first)
        self.process.wait()
        if self.told is not None:
            os.close(self.told)
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was still to be written
                stream.close()  # type: ignore[union-attr]


@contextmanager
def _watched(sides: list[Side]) -> Iterator[None]:
    """Kills both when their time is over, or their memory is too large: who waits for them sees that they ended."""
    done, until = threading.Event(), time.monotonic() + SECONDS

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            if time.monotonic() > until or _memory({side.process.pid for side in sides}) > MEMORY_BYTES:
                for side in sides:
                    side.kill()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _memory(processes: set[int]) -> int:
    """Bytes of memory of processes and all that they started."""
    above: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                above[int(entry.name)] = int(fields[1]), int(fields[21])
    family: set[int] = set()
    new = processes & above.keys()
    while new:
        family |= new
        new = {process for process, (parent, _) in above.items() if parent in new} - family
    return sum(above[process][1] for process in family) * os.sysconf("SC_PAGE_SIZE")


@lru_cache
def _inside() -> str:
    return (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
