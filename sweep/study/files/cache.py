"""The cache of folders that are built once and only read afterwards. A folder is complete, or it does not exist: a kill
or a loss of power meanwhile leaves none.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sweep.study.files import unfinished
from sweep.study.files.atomic import sync

UNFINISHED = ".almr-unfinished-"  # how names of temporary folders begin: other hidden folders are the user's
BUILT_IN = (
    "base_checks",
    "base_losses",
    "base_scores",
    "benchmarks",
    "benchmarks/tasks",
    "conversations",
    "corpora",
    "embedded",
    "excluded",
    "models",
    "texts",
)


def root() -> Path:
    """`$ALMR_CACHE`, else `~/.cache/almr-sweep`. On a cluster, every node has to see this folder."""
    return Path(os.environ.get("ALMR_CACHE") or Path.home() / ".cache" / "almr-sweep").expanduser().resolve()


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`. Where it is missing, `build` fills a temporary folder beside it, which is then renamed.

    If two processes build it in parallel, both finish, and the first result stays.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = _beside(folder)
    try:
        with unfinished.naming(folder, building):
            build(building)
            sync(building)
            building.chmod(0o755)  # mkdtemp creates it private; a finished folder is for all users
        try:
            building.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _beside(folder: Path) -> Path:
    """A new temporary folder for what becomes `folder`. Raises OSError, which names `folder`."""
    try:
        return Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{folder.name}.{unfinished.owner()}-", dir=folder.parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def remove_abandoned() -> None:
    """Delete the unfinished folders of processes that were killed: those of this machine whose process has ended, and
    those in which nothing has changed for a day.

    Looks only in BUILT_IN, and only at names that `build_once` gives: `$ALMR_CACHE` may be a user's home.
    """
    for name in BUILT_IN:
        remove_abandoned_in(root() / name)


def remove_abandoned_in(place: Path, name: str = "*") -> None:
    """The same in one folder, of what would become `name`."""
    for found in place.glob(f"{UNFINISHED}{name}.*"):
        try:
            newest = max(path.lstat().st_mtime for path in (found, *found.rglob("*")))
        except OSError:  # its process has just finished it
            continue
        if found.is_dir() and (unfinished.has_ended(found.name) or time.time() - newest > unfinished.ABANDONED_SECONDS):
            shutil.rmtree(found, ignore_errors=True)


def size(paths: Iterable[str], seen: set[tuple[int, int]]) -> int:
    """Bytes of files and of all files in folders. `seen` are the inodes that were counted before, and grows: links of a
    model hub's cache, and parts of several studies, count once.
    """
    found = [file for path in map(Path, paths) for file in ([path] if path.is_file() else path.rglob("*"))]
    total = 0
    for file in found:
        try:
            status = file.stat()
        except OSError:  # another process has just removed it
            continue
        inode = (status.st_dev, status.st_ino)
        if stat.S_ISREG(status.st_mode) and inode not in seen:
            seen.add(inode)
            total += status.st_size
    return total
