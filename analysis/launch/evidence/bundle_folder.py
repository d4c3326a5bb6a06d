"""The folder of a bundle: what an export may replace there, and when the old bundle is kept beside the new one."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from analysis.launch.evidence import evidence
from sweep.study import InputError


def refuse_foreign(out: Path) -> None:
    """Raises InputError where `out` is not a folder, holds other files than a bundle's, or the working directory."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: is not a folder: export to another one")
    if not out.exists():
        return
    if Path.cwd().is_relative_to(out.resolve()):
        raise InputError(f"{out}: holds the working directory, and an export replaces it: go to another, or name one")
    held = [evidence.NAME] if (out / evidence.NAME).exists() else evidence.contents(out)
    if evidence.written(out) is None and (foreign := next(iter(held), None)):
        raise InputError(f"{out}: holds {foreign}, which no export wrote: move it away or export to another folder")


def was_used(out: Path) -> bool:
    """Whether the bundle holds a file that no export wrote, or one that was changed since."""
    known = evidence.written(out)
    if known is None:
        return False
    return any(
        _changed(out / name, known["files"].get(name), name in known["links"]) for name in evidence.contents(out)
    )


def _changed(path: Path, written: str | None, link: bool) -> bool:
    """An object store turns a link into a copy of its file: that is no change."""
    return not link if written is None else written != evidence.target_or_sha256(path)


def replace(out: Path, finished: Path) -> Path | None:
    """Move the finished bundle to `out`. Returns where a used old bundle is kept; an unused one is deleted.

    The old bundle is moved first: a folder cannot be renamed over one that holds files.
    """
    kept = _free(out) if was_used(out) else None
    old = kept or out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        os.replace(out, old)
    os.replace(finished, out)
    if kept is None:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def _free(out: Path) -> Path:
    tried = (out.with_name(f"{out.name}.before-{n}") for n in itertools.count(1))
    return next(path for path in tried if not path.exists())
