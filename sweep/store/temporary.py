"""Temporary folders of this program. Each names the process that made it: what a killed one left, the next start
removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pydantic

from sweep.store.owner import Owner
from sweep.study.files import unfinished

KINDS = ("ray", "trial", "node")
OWNER = "owner.json"
NAMELESS_SECONDS = 3600.0  # a folder whose owner is not written yet belongs to a process that is just starting


def make(kind: str, within: Path | None = None) -> Path:
    """A new folder `almr-KIND-...` of this process, for its user alone."""
    assert kind in KINDS, "only what is known is swept"
    made = Path(tempfile.mkdtemp(prefix=f"almr-{kind}-", dir=within))
    (made / OWNER).write_text(Owner.here().model_dump_json(), encoding="utf-8")
    return made


@contextlib.contextmanager
def folder(kind: str) -> Iterator[Path]:
    """A folder for as long as the block runs."""
    made = make(kind)
    try:
        yield made
    finally:
        remove(made)


def remove(made: Path) -> None:
    """Its owner's name goes last: what a removal leaves that was cut short is still known as ours."""
    with contextlib.suppress(OSError):
        for path in made.iterdir():
            if path.name != OWNER:
                unfinished.remove(path)
        if {path.name for path in made.iterdir()} <= {OWNER}:
            shutil.rmtree(made, ignore_errors=True)


def places() -> list[Path]:
    """Where temporary folders may be: the first is the user's choice for Ray."""
    named = [os.environ[name] for name in ("RAY_TMPDIR",) if os.environ.get(name)]
    return [Path(place).absolute() for place in (*named, tempfile.gettempdir(), "/tmp", "/var/tmp")]  # noqa: S108


def sweep() -> None:
    """Remove the folders that processes of this machine left which have ended. Those of others are never touched, nor
    is what the user gave such a name.
    """
    for place in dict.fromkeys(places()):
        for kind in KINDS:
            for found in place.glob(f"almr-{kind}-*"):
                with contextlib.suppress(OSError, pydantic.ValidationError):
                    _remove_left(found)


def _remove_left(found: Path) -> None:
    if found.is_symlink() or not found.is_dir() or found.stat().st_uid != os.getuid():
        return
    try:
        owner = Owner.model_validate_json((found / OWNER).read_bytes())
    except FileNotFoundError:
        if time.time() - found.stat().st_mtime > NAMELESS_SECONDS:
            found.rmdir()  # an empty one alone: what holds anything without naming us is not ours
        return
    if owner.is_gone():
        remove(found)
