"""A replay of a study without a launch: what has no bundle is sound, and says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from one_ray import almr
from samples import bowl_csv, study_content
from whole_run import GRID, without_ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("replay")
    table = bowl_csv(made / "table.csv", GRID["almr"], GRID["lr"])
    (made / "study.yaml").write_text(yaml.safe_dump(study_content(grid=GRID, replay={"table": table.name})))
    with without_ray():
        almr(made, "run", "study.yaml", status=(0, 3))
    return made


def test_the_doctor_misses_nothing(folder: Path) -> None:
    found = json.loads(almr(folder, "doctor", "small", "--json"))
    assert (found["sound"], found["damaged"], found["records"]) == (True, [], 9)


@pytest.mark.parametrize("verb", ["export", "confirm"])
def test_what_needs_a_launch_says_how_to_add_one(folder: Path, verb: str) -> None:
    said = almr(folder, verb, "small", "--accept-risk", "a test", status=(2,))
    assert said.startswith("study small has no launch: add `launch:` with model, tokens, ")
