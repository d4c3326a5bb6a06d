"""Who holds a run, and whether he still lives: told at once on the same host, elsewhere by his silence."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path

from sweep.study.fields import Schema


class Owner(Schema):
    """Who holds a lock. `boot`, `namespace` and `started` tell on the same host whether the process still lives."""

    token: str
    user: str
    host: str
    process: int
    since: datetime
    beat: datetime
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
            machine=_machine(),
            boot=_read(Path("/proc/sys/kernel/random/boot_id")),
            namespace=_namespace(),
            started=_started(os.getpid()),
        )

    @property
    def silent_seconds(self) -> float:
        return (datetime.now(UTC) - self.beat).total_seconds()

    def is_gone(self) -> bool:
        """Whether this is a process of this host that has ended. Of other hosts only the beat tells."""
        here = Owner.here()
        if self.host != here.host or self.boot is None:
            return False
        if self.boot != here.boot:
            return self.machine is not None and self.machine == here.machine  # restarted since
        return self.namespace == here.namespace and _started(self.process) != self.started

    def __str__(self) -> str:
        return f"{self.user}, process {self.process} on {self.host}, since {self.since:%Y-%m-%d %H:%M} UTC"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"user {os.getuid()}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _machine() -> str | None:
    identity = _read(Path("/etc/machine-id"))  # not to be shown as it is
    return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else None


def _namespace() -> str | None:
    """Process numbers mean the same only within one of these: containers of a host have their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _started(process: int) -> str | None:
    """When a process started, in ticks since boot; None for one that has ended, or where the system does not tell."""
    stat = _read(Path(f"/proc/{process}/stat"))
    fields = stat.rsplit(")", 1)[-1].split() if stat else ["X"]
    return None if fields[0] in "ZX" else fields[19]
