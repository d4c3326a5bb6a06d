"""Size and time of change of files, by which a later change is noticed without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FileStamps = dict[str, tuple[int, int]]  # by path: size in bytes, and time of change in ns


def stamped(files: Iterable[str]) -> FileStamps:
    """The stamps of those that are files."""
    found = ((file, Path(file).stat()) for file in sorted(files) if Path(file).is_file())
    return {file: (status.st_size, status.st_mtime_ns) for file, status in found}


def inside(folder: str) -> list[str]:
    """All files of a folder but hidden ones."""
    paths = (path for path in Path(folder).rglob("*") if not f"/{path.relative_to(folder)}".count("/."))
    return [str(path) for path in paths]
