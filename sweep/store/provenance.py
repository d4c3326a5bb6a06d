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

from sweep.study.files import disk

PACKAGES = ("sweep", "trainers", "analysis")
VERSIONED = ("almr-sweep", "torch", "transformers", "datasets", "ray", "numpy", "pandas", "scikit-learn", "scipy")


def copy_code(folder: Path) -> str:
    """Copy our packages to `folder`, which is emptied first; returns the sha256 of the copies. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        source = Path(__file__).parents[2] / package
        with disk.naming(folder):  # copytree goes on after an error, and raises all of them as one
            shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


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
    tracked = _git("ls-files", "--error-unmatch", __file__)
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--match=") if tracked else None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None
