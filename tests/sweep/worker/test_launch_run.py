"""What the other ranks of a launch wait for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from samples import make_study

from sweep.store.run import Run
from sweep.study import CorpusFacts, Ingredients, InputError
from sweep.worker import launch_run

LEFT = ("fingerprint", "files", "conversations")


def test_what_an_earlier_start_prepared_is_waited_for_again_where_the_cache_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And which folder that is, is said: it may lie in the cache of another node alone."""
    monkeypatch.setattr(launch_run, "PREPARATION_HOURS", 1e-5)
    monkeypatch.setattr(launch_run, "SAY_SECONDS", 0.0)
    monkeypatch.setattr(launch_run, "POLL_SECONDS", 0.0)
    facts: dict[str, Any] = {name: 1 for name in CorpusFacts.model_fields if name not in LEFT}
    folders = {name: str(tmp_path / "cache" / name) for name in ("original", "additional")}
    corpora = {name: CorpusFacts(fingerprint=name, **facts) for name in folders}
    for name in ("model", *folders):
        (tmp_path / "cache" / name).mkdir(parents=True)
    run, study = Run(tmp_path / "run"), make_study()
    run.freeze(study)
    made = Ingredients(
        base_model=str(tmp_path / "cache/model"), base_model_fingerprint="m", folders=folders, corpora=corpora
    )
    run.keep_ingredients(made)
    launch_run.wait_until_prepared(run, study)
    shutil.rmtree(folders["additional"])
    with pytest.raises(InputError, match="rank 0 has not prepared the corpora"):
        launch_run.wait_until_prepared(run, study)
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith(
        f"almr: waiting for {folders['additional']}: if rank 0 has it already, ALMR_CACHE is no folder"
    )
