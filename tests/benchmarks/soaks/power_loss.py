"""A loss of power, simulated: what no process has synced to the disk is lost, in part or whole.

`watch` gives the environment under which every Python process notes what it syncs; `lose` then drops the rest.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

RECENT_SECONDS = 2.0  # before the loss, for which a synced file may still lack its name in its folder
SHIM = """
import os
_sync = os.fsync
def fsync(file):
    _sync(file)
    found = os.fstat(file)
    with open(os.environ["ALMR_SOAK_SYNCED"], "a") as log:
        log.write(f"{found.st_ino} {found.st_size}\\n")
os.fsync = fsync
"""


def watch(folder: Path) -> dict[str, str]:
    """The variables of a process whose syncs are noted in `folder`, and those of its children."""
    (folder / "shim").mkdir(parents=True, exist_ok=True)
    (folder / "shim" / "sitecustomize.py").write_text(SHIM)
    paths = [str(folder / "shim"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "ALMR_SOAK_SYNCED": str(folder / "synced")}


def lose(run: Path, folder: Path, random: Random) -> None:
    """Drop what was not synced of a run, whose processes are dead."""
    noted = folder / "synced"
    synced = {line.split()[0] for line in noted.read_text().splitlines()} if noted.exists() else set()
    now = time.time()
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        found = path.stat()
        if str(found.st_ino) not in synced:
            _damage(path, found.st_size, random)
        elif path.name == "record.json" and now - found.st_mtime < RECENT_SECONDS and random.random() < 0.5:
            path.unlink()


def _damage(path: Path, size: int, random: Random) -> None:
    how = random.choice(("whole", "gone", "empty", "cut", "zeros"))
    if how == "gone":
        path.unlink()
    elif how != "whole":
        kept = {"empty": 0, "cut": random.randrange(size + 1), "zeros": 0}[how]
        os.truncate(path, kept)
        if how == "zeros":
            os.truncate(path, size)
