"""A disk that fails: calls on files below one folder get an error of the system, or wait, in every process that was
started with `FaultyDisk.environment`, those that it starts included. disk_faults.c does it; it needs a C compiler.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).with_suffix(".c")
ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc") if sys.platform == "linux" else None


class Call(enum.IntFlag):
    """Calls on files, by what they do."""

    OPEN = 1
    WRITE = 2
    SYNC = 4
    RENAME = 8
    MAKE = 16
    LIST = 32
    READ = 64
    REMOVE = 128


FILLS = Call.OPEN | Call.WRITE | Call.SYNC | Call.RENAME | Call.MAKE  # what a full disk refuses
CHANGES = FILLS | Call.REMOVE  # what a read-only disk refuses
ANY = CHANGES | Call.LIST | Call.READ


class _Faults(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("armed", "kinds", "number", "once")),
        *((name, ctypes.c_long) for name in ("first", "delay_ms", "count")),
        ("folder", ctypes.c_char * 1024),
        ("last", ctypes.c_char * 1024),
    ]


class FaultyDisk:
    """The disk of one folder. `scratch`: for the compiled library and the file by which it is told what fails."""

    def __init__(self, scratch: Path) -> None:
        assert COMPILER, "a C compiler is needed"
        self.library, self.told = scratch / "faulty-disk.so", scratch / "what-fails"
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(self.library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.told.write_bytes(bytes(ctypes.sizeof(_Faults)))
        with self.told.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 0)
        self._faults = _Faults.from_buffer(self._map)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "ALMR_DISK_FAULTS": str(self.told)}

    @contextmanager
    def failing(
        self, folder: Path, first: int, number: int = errno.ENOSPC, calls: Call = FILLS, once: bool = False,
        seconds: float = 0.0,
    ) -> Iterator[None]:  # fmt: skip
        """Meanwhile, calls below the folder fail from the `first` on (1: all; `once`: only that). `number` 0: none
        fails. `seconds`: how long each of them takes.
        """
        told = self._faults
        told.armed, told.count, told.first, told.once, told.last = 0, 0, first, once, b""
        told.kinds, told.number, told.delay_ms = calls, number, int(1000 * seconds)
        told.folder = str(folder.resolve()).encode()
        told.armed = 1
        try:
            yield
        finally:
            told.armed = 0

    @property
    def calls(self) -> int:
        """How many calls there were since it was last told to fail."""
        return int(self._faults.count)

    @property
    def last(self) -> str:
        """The last call that failed, and its file."""
        kind, _, path = self._faults.last.decode().partition(" ")
        return f"{Call(int(kind)).name} {path}" if kind else ""


class Answer(NamedTuple):
    status: int
    out: str
    err: str


class Commands:
    """Runs `almr` again and again on a faulty disk: a process that has imported all of it is forked for each."""

    def __init__(self, disk: FaultyDisk, folder: Path, **environment: str) -> None:
        self.folder = folder
        own = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "disk_faults"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=folder, env=os.environ | disk.environment | own | environment,
        )  # fmt: skip

    def almr(self, *arguments: str, **environment: str) -> Answer:
        """Run the command; returns its exit status (negative: of a signal) and what it printed."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([arguments, environment]), file=self._process.stdin, flush=True)
        return Answer(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def _serve() -> None:
    """Each line of the standard input is a command; each of the output its answer."""
    import tempfile

    from sweep import cli
    from sweep.verbs.results import outputs  # noqa: F401  # their imports take seconds
    from sweep.verbs.running import run  # noqa: F401
    from sweep.verbs.simulation import simulate  # noqa: F401
    from trainers import prepare  # noqa: F401

    for line in sys.stdin:
        arguments, environment = json.loads(line)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            if (child := os.fork()) == 0:
                _run(cli.run_command, arguments, environment, out.fileno(), err.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [os.pread(stream.fileno(), 2**20, 0).decode(errors="replace") for stream in (out, err)]
        print(json.dumps([status, *texts]), flush=True)


def _run(main: Any, arguments: list[str], environment: dict[str, str], out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(environment)
    sys.argv = ["almr", *arguments]
    status = 70
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
