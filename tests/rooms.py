"""The map of the rooms, read from the code: each folder with its entries and the folders that it imports.

python -m tests.rooms    # print the map and the measures of the code; `make docs` draws docs/figures/rooms.svg
"""

from __future__ import annotations

import ast
import functools
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ROOMS = ("sweep", "trainers", "analysis")
GROUND = "sweep/study"


class Folder(NamedTuple):
    """`entries`: its modules, sub-folders and data files. `imports`: folders of the same rooms, by path."""

    path: str
    entries: tuple[str, ...]
    imports: tuple[str, ...]


@functools.cache
def files() -> list[Path]:
    """Every module of the product."""
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """The dotted names that a module imports, anywhere in it. A relative import is an AssertionError."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(found)


@functools.cache
def home(name: str) -> str | None:
    """The folder of the module that a dotted name stands for; None where it is not of the product."""
    parts = name.split(".")
    if parts[0] not in ROOMS:
        return None
    while parts and not (ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()):
        parts.pop()
    where = ROOT.joinpath(*parts)
    return (where if where.is_dir() else where.parent).relative_to(ROOT).as_posix()


@functools.cache
def folders() -> list[Folder]:
    """Every folder that holds a module, from the top down."""
    found = []
    for place in sorted({path.parent for path in files()}):
        own = place.relative_to(ROOT).as_posix()
        names = {home(name) for path in place.glob("*.py") for name in imported(path)}
        arrows = sorted(name for name in names if name and name != own and name not in ROOMS)
        found.append(Folder(own, tuple(_entries(place)), tuple(arrows)))
    return found


def _entries(place: Path) -> Iterator[str]:
    for entry in sorted(place.iterdir(), key=lambda entry: (entry.is_dir(), entry.name)):
        if not entry.name.startswith(("__", ".")):
            yield f"{entry.name}/" if entry.is_dir() else entry.name


def arrows(parent: str) -> dict[str, set[str]]:
    """Between the entries of a folder: which of them import which, with whatever lies below them."""
    found: dict[str, set[str]] = {}
    base = ROOT / parent
    for path in base.rglob("*.py"):
        one = path.relative_to(base).parts[0].removesuffix(".py")
        for name in imported(path):
            parts = name.split(".")
            depth = len(Path(parent).parts)
            if tuple(parts[:depth]) != Path(parent).parts or len(parts) == depth:
                continue
            other = parts[depth]
            if other != one and ((base / other).is_dir() or (base / f"{other}.py").is_file()):
                found.setdefault(one, set()).add(other)
    return found


def cycles(graph: dict[str, set[str]]) -> set[str]:
    """The entries from which an arrow leads back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in graph.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    return {name for name in graph if name in reached(name)}


def function_lengths() -> list[int]:
    """In lines, of every function of the product."""
    return sorted(
        node.end_lineno - node.lineno + 1
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    )


def classes() -> dict[str, list[str]]:
    """Where each class name is defined."""
    found: dict[str, list[str]] = {}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    return found


def measures() -> str:
    lengths = function_lengths()
    lines = dict.fromkeys(ROOMS, 0)
    for path in files():
        lines[path.relative_to(ROOT).parts[0]] += len(path.read_text(encoding="utf-8").splitlines())
    return (
        f"{len(files())} modules, {sum(lines.values()):,} lines "
        f"({', '.join(f'{room} {count:,}' for room, count in lines.items())})\n"
        f"{len(lengths):,} functions: median {statistics.median(lengths):g} lines, "
        f"p90 {statistics.quantiles(lengths, n=10)[-1]:g}, longest {lengths[-1]}"
    )


def text() -> str:
    lines = []
    for folder in folders():
        lines.append(f"{folder.path}/ ({len(folder.entries)}): {'  '.join(folder.entries)}")
        if folder.imports:
            lines.append(f"    imports {', '.join(folder.imports)}")
    return "\n".join([*lines, "", measures()])


if __name__ == "__main__":
    sys.stdout.write(text() + "\n")
