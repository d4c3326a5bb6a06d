"""`almr run STUDY --replay TABLE`: a study of many GPUs, from its trials to its bundle, on a machine without any."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from one_ray import almr
from whole_run import without_ray

from analysis.fit_file.findings import Finding
from sweep.study import InputError, study_file
from sweep.study.record import simulated_losses
from sweep.study.sections.launch import Format
from tests import simulated_table

SAID = simulated_losses(simulated_table.MADE_BY)
# Megatron-LM cannot keep documents apart in sequences of 8,192 tokens, as the study asks.
FORMATS = [name for name in Format.__args__ if name != "megatron"]  # type: ignore[attr-defined]


def test_the_shipped_table_is_what_its_formula_gives() -> None:
    assert simulated_table.FILE.read_text(encoding="utf-8") == simulated_table.text()


def test_a_replay_is_a_run_of_its_own() -> None:
    study = study_file.load("llama3-8b-zh")
    found = study_file.replayed(study, "llama3-8b-zh-simulated")
    assert found.name == "llama3-8b-zh-replay"
    assert Path(found.replay.table) == simulated_table.FILE
    assert (found.trial_resources.gpus, found.trial_resources.nodes, found.trial_resources.cpus) == (0, 1, 1)
    assert found.resources == study.resources  # which the launch's GPU comes from


def test_a_table_that_is_not_there_is_named_with_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"--replay nothing\.csv: no such file.*llama3-8b-zh-simulated"):
        study_file.replayed(study_file.load("llama3-8b-zh"), "nothing.csv")


@pytest.mark.slow
def test_the_8b_study_is_replayed_and_exported_in_every_format_that_can_train_it(tmp_path: Path) -> None:
    """Without a network. Every page says that the losses are simulated, and GO.md what is not known."""
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with without_ray():
        printed = almr(tmp_path, "run", "llama3-8b-zh", "--replay", "llama3-8b-zh-simulated")
    run = tmp_path / "runs" / "llama3-8b-zh-replay"
    assert SAID in printed.splitlines()
    assert SAID in (run / "report.html").read_text()
    warnings = json.loads((run / "fit.json").read_text())["warnings"]
    assert SAID in {Finding.model_validate(one).message for one in warnings}
    every = [word for name in FORMATS for word in ("--format", name)]
    assert almr(tmp_path, "export", str(run), *every, status=(3,)).startswith("NO GO: measured losses")
    page = (run / "launch" / "GO.md").read_text()
    assert f"| fail | fit | measured losses | simulated by {simulated_table.MADE_BY}; no trial was trained |" in page
    assert "| not known | data | counts of the text | as stated, not counted: English, Chinese |" in page
    for name in FORMATS:
        assert (run / "launch" / name / "start.sh").is_file()
        files = (run / "launch" / name).iterdir()
        heads = [path.read_text() for path in files if path.suffix in (".yaml", ".py", ".txt")]
        assert any(SAID in text for text in heads), name
