"""The map of the rooms holds: imports run one way, and the heavy libraries have one door each."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {
    f"sweep.{name}"
    for name in (
        "benchmark",
        "fields",
        "gpus",
        "grid",
        "guards",
        "launch",
        "recipe",
        "resources",
        "search",
        "shape",
        "transfer",
        "trial",
        "study",
        "study_file",
    )
}
ALLOWED = {"analysis": {"analysis"}, "trainers": {"trainers"}, "sweep": {"sweep", "trainers", "analysis"}}
FILES = sorted(path for room in ALLOWED for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def modules_of(library: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in FILES if any(m.split(".")[0] == library for m in imported(p))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_rooms_below_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        top = name.split(".")[0]
        if top not in ALLOWED or top in ALLOWED[room]:
            continue
        leaf = ".".join(name.split(".")[:2])
        # `from sweep import study_file` names the package and then the leaf.
        assert leaf in LEAVES or name == "sweep", f"{path.name} imports {name}"


def test_leaves_import_no_room() -> None:
    for leaf in LEAVES:
        rooms = {n for n in imported(ROOT / (leaf.replace(".", "/") + ".py")) if n.split(".")[0] in ALLOWED}
        assert all(name == "sweep" or ".".join(name.split(".")[:2]) in LEAVES for name in rooms)


def test_ray_and_matplotlib_have_one_door_each() -> None:
    assert modules_of("ray")
    assert all(module.startswith(("sweep/controller", "sweep/preflight")) for module in modules_of("ray"))
    drawing = modules_of("matplotlib")
    assert drawing
    assert all(module.startswith("analysis/plots/") for module in drawing)


def test_analysis_never_trains() -> None:
    assert not [m for m in modules_of("torch") | modules_of("transformers") if m.startswith("analysis")]


@pytest.mark.parametrize(
    "module", ["sweep.cli", "sweep.design", "sweep.planning.plan", "sweep.summary", "sweep.store", "sweep.worker"]
)
def test_answering_at_once_takes_no_heavy_import(module: str) -> None:
    code = f"import {module}, sys; print({{'ray', 'torch', 'sklearn', 'pandas', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_there_is_no_room_for_what_has_no_home() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "common", "helpers", "misc")]
    top = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert top <= {"sweep", "trainers", "analysis", "tests", "notebooks", "runs"}
