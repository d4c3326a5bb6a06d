"""The sandboxes for code that a model wrote, and which of them works on this machine.

Standard library only: the preflight sends this module to every node by value.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRATCH_BYTES = 64 * 2**20  # of the folder that a program may write to
PROBE_SECONDS = 30
NONE = "none"
FIX = (
    "install bubblewrap (a package of every Linux distribution), leave out benchmarks.unsafe_code, or insist with "
    "benchmarks.sandbox: none, which only sets limits"
)
FIRST_USER, USERS = 2**20, 2**30  # of root, each program becomes a user of its own: the kernel counts processes by user


@dataclass(frozen=True)
class Sandbox:
    """`command`: what a Python's command line is preceded by. `user`: whom the process has to become, or None."""

    name: str
    version: str
    command: tuple[str, ...]
    user: int | None = None

    @property
    def is_bubblewrap(self) -> bool:
        return self.name == "bubblewrap"

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}".strip()


def interpreter() -> str:
    """This Python without its virtual environment, whose packages a program does not see."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable) or sys.executable)


def start(sandbox: Sandbox) -> tuple[str, ...]:
    """A command line up to the text of its program. Isolated, and without the packages of the environment."""
    return (*sandbox.command, interpreter(), "-I", "-S", "-X", "utf8", "-c")


def refused(choice: str) -> str | None:
    """Why no code of a model can run on this machine, in a line; None where it can."""
    found = find(choice)
    return f"no sandbox for the code of the model works here ({found}): {FIX}" if isinstance(found, str) else None


def find(choice: str) -> Sandbox | str:
    """The first sandbox that works here, of the study's `benchmarks.sandbox`, or one line on why there is none."""
    if choice == NONE:
        return _limits_alone()
    tried = {name: _working(name) for name in (ENGINES if choice == "auto" else [choice])}
    works = next((found for found in tried.values() if isinstance(found, Sandbox)), None)
    return works or "; ".join(f"{name}: {why}" for name, why in tried.items())


def _working(name: str) -> Sandbox | str:
    program, make = shutil.which(PROGRAMS[name]), ENGINES[name]
    if program is None:
        return "not installed"
    sandbox = make(program, _version(program))
    why = _fails([*start(sandbox), "print('works')"])
    return sandbox if why is None else f"does not work here ({why})"


def _fails(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    if done.returncode == 0 and done.stdout == "works\n":
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1][:150] if lines else f"status {done.returncode}"


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.split()[-1] if done.stdout.split() else ""


def environment() -> dict[str, str]:
    """All of the environment that a program sees."""
    return {"HOME": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}  # noqa: S108


def _bubblewrap(program: str, version: str) -> Sandbox:
    is_root = os.geteuid() == 0
    # Root needs no user namespace, and inside one it would still be root, whose processes the kernel does not count.
    who = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if is_root else ("--uid", "65534", "--gid", "65534")
    unshared = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    command = (
        *(program, *(() if is_root else ("--unshare-user",)), *unshared, *who, "--die-with-parent", "--new-session"),
        *_read_only(),
        *("--proc", "/proc", "--dev", "/dev"),
        *_scratch("/dev/shm"),  # noqa: S108
        *_scratch("/tmp"),  # noqa: S108
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--hostname", "sandbox"),  # noqa: S108
    )
    return Sandbox("bubblewrap", version, command, FIRST_USER if is_root else None)


def _scratch(folder: str) -> tuple[str, ...]:
    return ("--perms", "1777", "--size", str(SCRATCH_BYTES), "--tmpfs", folder)


def _read_only() -> list[str]:
    """The system's programs and libraries and the bare Python, and nothing of the user's."""
    binds = [part for folder in ("/usr", "/lib", "/lib64", "/bin") for part in ("--ro-bind-try", folder, folder)]
    binds += ["--tmpfs", "/usr/local", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    base = Path(sys.base_prefix)
    if base != Path("/usr"):
        libraries, python = str(base / "lib"), interpreter()
        for above in reversed([*Path(libraries).parents, *Path(python).parents]):
            binds += ["--perms", "0755", "--dir", str(above)]  # a home may be closed to others
        binds += ["--ro-bind", libraries, libraries, "--ro-bind", python, python]
    installed = {sysconfig.get_path(kind, vars={"base": str(base), "platbase": str(base)}) for kind in INSTALLED}
    for folder in sorted(installed):
        if Path(folder).is_dir():
            binds += ["--tmpfs", folder]
    return binds


INSTALLED = ("purelib", "platlib")
ENGINES: dict[str, Callable[[str, str], Sandbox]] = {"bubblewrap": _bubblewrap}
PROGRAMS = {"bubblewrap": "bwrap"}


def own_user() -> int:
    return FIRST_USER + secrets.randbelow(USERS)


def _limits_alone() -> Sandbox:
    """Without a network and in a process namespace of its own where the kernel lets a user have them."""
    unshare = shutil.which("unshare")
    apart = ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    for flags in (apart, apart[:3]) if unshare else ():
        sandbox = Sandbox(NONE, "", (str(unshare), *flags))
        if _fails([*start(sandbox), "print('works')"]) is None:
            return sandbox
    return Sandbox(NONE, "", ())
