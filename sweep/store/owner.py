"""The owner of a lock, and whether that process still runs: by its process id on this host, elsewhere by its heartbeat.

psutil's public creation time depends on the system clock: after a correction a live process would look like another.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime

from sweep.study import Schema
from sweep.study.files import unfinished
from sweep.study.numbers import clock


class Owner(Schema):
    """The process that holds a lock. `beat` is its last heartbeat.

    `boot`, `namespace` and `started` identify the process on its own host, `machine` identifies the host itself.
    """

    token: str
    user: str
    host: str
    process: int
    since: AwareDatetime
    beat: AwareDatetime
    machine: str | None = None
    boot: str | None = None
    namespace: str | None = None
    started: str | None = None

    @staticmethod
    def here() -> Owner:
        now = datetime.now(UTC)
        return Owner(
            token=uuid.uuid4().hex,
            user=_user(),
            host=socket.gethostname(),
            process=os.getpid(),
            since=now,
            beat=now,
            machine=_identity(),
            boot=unfinished.boot(),
            namespace=unfinished.namespace(),
            started=_started(os.getpid()),
        )

    @property
    def silent_seconds(self) -> float:
        return (datetime.now(UTC) - self.beat).total_seconds()

    @property
    def heard(self) -> str:
        """When it was last heard of, in words."""
        return f"{self.beat.astimezone():%Y-%m-%d %H:%M:%S}, {clock(max(0.0, self.silent_seconds))} ago"

    def is_gone(self) -> bool:
        """Whether this is a process of this host that has ended. False for other hosts: only the heartbeat is known."""
        here = Owner.here()
        if self.host != here.host or self.boot is None:
            return False
        if self.boot != here.boot:
            return self.machine is not None and self.machine == here.machine  # restarted since
        return self.namespace == here.namespace and _started(self.process) != self.started

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (pid {self.process})"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None  # a process may have any name
    except OSError:
        return None


def _identity() -> str | None:
    """What identifies this machine also after it was started again."""
    identity = _read(Path("/etc/machine-id"))  # the file is confidential: only its hash is written
    return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else None


def _started(process: int) -> str | None:
    """The start of a process, in clock ticks since boot; None if it has ended, or on a system without /proc."""
    stat = _read(Path(f"/proc/{process}/stat"))
    fields = stat.rsplit(")", 1)[-1].split() if stat else ["X"]
    return None if fields[0] in "ZX" else fields[19]
