"""The folder of a bundle: what an export may replace there, and when the old bundle is kept beside the new one."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from analysis.launch.evidence import evidence
from sweep.study import InputError
from sweep.study.files import unfinished


def refuse_foreign(out: Path) -> None:
    """Raises InputError where `out` is not a folder, holds other files than a bundle's, or the working directory."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: is not a folder: export to another one")
    if not out.exists():
        return
    if Path.cwd().is_relative_to(os.path.realpath(out)):
        raise InputError(f"{out}: holds the working directory, and an export replaces it: go to another, or name one")
    held = [evidence.NAME] if os.path.lexists(out / evidence.NAME) else evidence.contents(out)
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

    The old bundle is moved first: a folder cannot be renamed over one that holds files. Raises OSError where the new
    one cannot be moved; the old one is then where it was.
    """
    kept = _free(out) if was_used(out) else None
    old = kept or unfinished.beside(out, replaced=True)
    if kept is None:
        unfinished.remove(old)  # of an earlier process with our number: the bundle would be moved into it
    if out.exists():
        shutil.move(out, old)  # a rename, or a copy: a folder of an image's lower layer cannot be renamed
    try:
        os.replace(finished, out)
    except OSError:
        if old.exists():
            os.replace(old, out)
        raise
    if kept is None:
        unfinished.remove(old)
    return kept


def _free(out: Path) -> Path:
    tried = (out.with_name(f"{out.name}.before-{n}") for n in itertools.count(1))
    return next(path for path in tried if not path.exists())
