"""The cache of things that are built once and only read afterwards: a folder stands whole under its name, or not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def root() -> Path:
    """`$ALMR_CACHE`, else `~/.cache/almr-sweep`. On a cluster it has to be storage that every node sees."""
    return Path(os.environ.get("ALMR_CACHE") or Path.home() / ".cache" / "almr-sweep").expanduser().resolve()


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`; where it is missing, `build` fills a temporary one beside it that then takes its name.

    Two builders at once both finish, and the first one's result stays.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        build(unfinished)
        unfinished.chmod(0o755)  # mkdtemp makes it private; others may read what is finished
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
