"""The provenance of a run: a copy of the code that its workers run, the versions and the host."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.study import InputError
from sweep.study.files import disk, unfinished

PACKAGES = ("sweep", "trainers", "analysis")
KINDS = {
    ".py",
    ".yaml",
    ".json",
    ".csv",
    ".js",
    ".css",
    ".mplstyle",
    ".ts",
    ".sh",
    ".sbatch",
    ".txt",
    ".j2",
    ".def",
}  # of our packages' files
NAMES = {"Dockerfile", "_extractive_yaml"}
LEFT = (".nfs", ".DS_Store")  # what file systems and desktops leave
AWAY = "move it away, or give the study another name"
VERSIONED = ("almr-sweep", "torch", "transformers", "datasets", "ray", "numpy", "pandas", "scikit-learn", "scipy")


def copy_code(folder: Path) -> str:
    """Copy our packages to `folder`, which is emptied first; returns the sha256 of the copies. Raises OSError, and
    InputError for a folder that holds more than they.
    """
    if name := foreign(folder):
        raise InputError(f"{folder}: holds {name}, which almr did not write, and a run empties this folder: {AWAY}")
    for package in reversed(PACKAGES):
        unfinished.remove(folder / package)
    unfinished.remove(folder)  # a link too, not what it leads to
    for package in PACKAGES:
        source = Path(__file__).parents[2] / package
        with disk.naming(folder):  # copytree goes on after an error, and raises all of them as one
            shutil.copytree(source, folder / package, ignore=_not_ours)
    return code_sha256(folder)


def foreign(folder: Path) -> str | None:
    """What a folder in the place of the copies holds that is not of them; None where that is nothing. Our first package
    is there whenever another one is: without it `analysis/` is the user's.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    packages = [Path(package).parts[0] for package in PACKAGES]
    ours = (*packages, "__pycache__") if packages[0] in names else ()
    return next((name for name in names if name not in ours and not name.startswith(LEFT)), None)


def code_sha256(folder: Path) -> str:
    """The sha256 of a copy of our packages, without what Python compiled beside it. Raises OSError."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _not_ours(folder: str, names: list[str]) -> list[str]:
    """What may lie among our files in a checkout and is not shipped: of other kinds, hidden, or a link elsewhere."""
    return [name for name in names if name == "__pycache__" or name.startswith(".") or not _is_ours(Path(folder, name))]


def _is_ours(path: Path) -> bool:
    if path.is_symlink():  # an installer may have linked each file to a copy that it keeps, under the same path
        inside = path.relative_to(Path(__file__).parents[2]).parts
        if path.resolve().parts[-len(inside) :] != inside:
            return False
    return path.is_dir() or path.suffix in KINDS or path.name in NAMES


def provenance(code_sha256: str) -> dict[str, Any]:
    """The content of `provenance.json`."""
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
        "git": _git_sha(),
        "code_sha256": code_sha256,
    }


def _git_sha() -> str | None:
    """The commit of our code, with `-dirty` where it was changed; None outside a checkout."""
    # An installed copy may lie inside another project's checkout, which does not track this file.
    if not (_git("ls-files", "--error-unmatch", __file__) and (commit := _git("rev-parse", "HEAD"))):
        return None
    return commit + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    # Without a lock: a command that is killed meanwhile would leave one that the user's next git refuses.
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None
