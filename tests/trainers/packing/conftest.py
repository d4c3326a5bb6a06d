"""A launch of the small model: a study of one trial, on two files of JSON Lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.study import Study
from trainers import prepare
from trainers.packing.blocks import LaunchBlocks


@pytest.fixture
def launch(local_study: Study) -> Callable[..., Study]:
    """`fields` of the training replace those of the small study."""

    def made(almr: float = 0.3, **fields: Any) -> Study:
        content = local_study.model_dump(mode="json", by_alias=True)
        content["training"] |= fields
        return Study.model_validate(content | {"grid": {"almr": [almr], "lr": [1e-3], "seeds": [5]}})

    return made


@pytest.fixture
def blocks(launch: Callable[..., Study]) -> Callable[..., LaunchBlocks]:
    def made(study: Study | None = None, held_out: dict[str, str] | None = None, **fields: Any) -> LaunchBlocks:
        study = study or launch(**fields)
        return LaunchBlocks.of(study, study.grid_trials[0], prepare.prepare(study), held_out)

    return made


@pytest.fixture
def packed(blocks: Callable[..., LaunchBlocks], tmp_path: Path) -> Callable[..., Path]:
    """A folder that a writer has filled; the sum of what it reports must be the run's rows."""

    def made(writer: Any, of: LaunchBlocks) -> Path:
        folder, reported = tmp_path / "data", []
        folder.mkdir()
        writer.write(of, folder, reported.append)
        assert sum(reported) == of.rows
        return folder

    return made
