"""The map of the rooms holds: imports run one way, and the heavy libraries have one door each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import rooms
from tests.rooms import GROUND, ROOT

ALLOWED = {"analysis": {"analysis"}, "trainers": {"trainers"}, "sweep": {"sweep", "trainers", "analysis"}}
MOST_ENTRIES = 12


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def modules_of(library: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in rooms.files() if library in {m.split(".")[0] for m in rooms.imported(p)}}


@pytest.mark.parametrize("path", rooms.files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_rooms_below_it(path: Path) -> None:
    ground = path.relative_to(ROOT).as_posix().startswith(f"{GROUND}/")
    for name in rooms.imported(path):
        top, place = name.split(".")[0], rooms.home(name)
        if top in ALLOWED and place not in ALLOWED:  # a bare room's name imports its docstring
            own = not ground and top in ALLOWED[room_of(path)]
            assert own or f"{place}/".startswith(f"{GROUND}/"), f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("folder", [*ALLOWED, *(f.path for f in rooms.folders() if f.path not in ALLOWED)])
def test_inside_a_folder_every_arrow_goes_one_way(folder: str) -> None:
    assert not rooms.cycles(rooms.arrows(folder))


def test_no_folder_is_crowded() -> None:
    assert not {f.path: len(f.entries) for f in rooms.folders() if len(f.entries) > MOST_ENTRIES}


def test_a_class_name_means_one_thing() -> None:
    assert not {name: where for name, where in rooms.classes().items() if len(where) > 1}


def test_a_cycle_would_be_found() -> None:
    assert rooms.cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}


def test_ray_and_matplotlib_have_one_door_each() -> None:
    assert modules_of("ray")
    assert all(module.startswith(("sweep/controller", "sweep/preflight")) for module in modules_of("ray"))
    drawing = modules_of("matplotlib")
    assert drawing
    assert all(module.startswith("analysis/figures/drawing/") for module in drawing)


def test_analysis_never_trains() -> None:
    assert not [m for m in modules_of("torch") | modules_of("transformers") if m.startswith("analysis")]


@pytest.mark.parametrize(
    "module",
    [
        "sweep.cli",
        "sweep.planning.plan",
        "sweep.store.run",
        "sweep.study.numbers",
        "sweep.trials.progress",
        "sweep.verbs.inspection.status",
        "sweep.worker.run_trial",
    ],
)
def test_answering_at_once_takes_no_heavy_import(module: str) -> None:
    code = f"import {module}, sys; print({{'ray', 'torch', 'sklearn', 'pandas', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_there_is_no_room_for_what_has_no_home() -> None:
    assert not [path for path in rooms.files() if path.stem in ("utils", "common", "helpers", "misc")]
    top = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert top <= {"sweep", "trainers", "analysis", "tests", "notebooks", "docs", "runs"}
