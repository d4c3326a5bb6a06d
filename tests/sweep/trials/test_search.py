"""The search of a study file: what is refused, and which trials it may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import make_study, study_content

from sweep.study import InputError, study_file

SEARCH = {"strategy": "surface", "trials": 12}
GRID = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 1e-2]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"search": {"strategy": "surface"}}, "search: strategy surface needs a budget: add trials"),
        ({"search": {"trials": 12}}, "search: trials: the grid is run whole"),
        ({"search": {"bounds": {"lr": [1e-4, 1e-1]}}}, "search: bounds: say up to how many trials"),
        (
            {"search": SEARCH | {"bounds": {"lr": [2e-3, 1e-1]}}},
            "search.bounds.lr [0.002, 0.1] do not contain the grid's",
        ),
        ({"search": SEARCH | {"bounds": {"almr": [0, 0.8]}}}, "search.bounds.almr [0, 0.8] do not contain the grid's"),
        (
            {"search": SEARCH | {"bounds": {"lr": [1e-1, 1e-4]}}},
            "bounds.lr: the lowest comes first: write [0.0001, 0.1]",
        ),
        ({"search": SEARCH | {"bounds": {"almr": [0, 1.5]}}}, "search.bounds.almr[1]"),
        (
            {"search": SEARCH | {"bounds": {"almr": [0, 1]}}, "grid": GRID | {"almr": [0.5]}},
            "search.bounds.almr: the grid has one almr, so there is no step to grow by",
        ),
        ({"search": SEARCH, "grid": GRID | {"seeds": [0, 1]}}, "a search runs one seed: give grid.seeds one value"),
        ({"search": {"strategy": "bayes", "trials": 12}}, "search.strategy"),
        ({"search": SEARCH | {"curve": 1}}, "search.curve"),
        ({"search": SEARCH | {"tolerance": -0.1}}, "search.tolerance"),
    ],
)
def test_what_a_search_cannot_be_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(**changes)))
    with pytest.raises(InputError) as raised:
        study_file.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("search", "between", "beyond"),
    [
        ({}, False, False),
        (SEARCH, False, False),
        (SEARCH | {"space": "range"}, True, False),
        (SEARCH | {"bounds": {"lr": [1e-4, 1e-1]}}, True, True),
        ({"trials": 12, "bounds": {"lr": [1e-4, 1e-1]}}, True, True),
    ],
)
def test_a_study_includes_its_cells_its_range_or_its_bounds(search: Any, between: bool, beyond: bool) -> None:
    study = make_study(search=search)
    assert study.includes(0.5, 1e-2, 0)
    assert study.includes(0.3, 2e-3, 0) is between
    assert study.includes(0.5, 5e-2, 0) is beyond
    assert not study.includes(0.5, 2e-1, 0)
    assert not study.includes(0.95, 2e-3, 0)
    assert not study.includes(0.5, 1e-2, 1)


def test_the_search_is_no_part_of_the_recipe() -> None:
    found = make_study(search=SEARCH | {"bounds": {"lr": [1e-4, 1e-1]}})
    assert found.fingerprint == make_study().fingerprint
    assert study_file.changed_fields(make_study(), found) == []
