"""`almr run STUDY --replay TABLE`: a study of many GPUs, from its trials to its bundle, on a machine without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.fit_file.findings import Finding
from sweep.study import InputError, study_file
from sweep.study.record import simulated_losses
from sweep.study.sections.launch import Format
from tests import simulated_table

ALMR = [sys.executable, "-c", "from sweep.cli import main; main()"]
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh run directory, made without a network."""
    return tmp_path_factory.mktemp("replay")


def almr(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    offline = {"HF_HUB_OFFLINE": "1"}

    return subprocess.run(
        [*ALMR, *words], cwd=folder, env=os.environ | offline, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_the_8b_study_is_replayed_and_exported_in_every_format_that_can_train_it(folder: Path) -> None:
    """Every page says that the losses are simulated, and GO.md what is not known."""
    done = almr(folder, "run", "llama3-8b-zh", "--replay", "llama3-8b-zh-simulated")
    assert done.returncode == 0, done.stdout + done.stderr
    run = folder / "runs" / "llama3-8b-zh-replay"
    assert SAID in done.stdout.splitlines()
    assert SAID in (run / "report.html").read_text()
    warnings = json.loads((run / "fit.json").read_text())["warnings"]
    assert SAID in {Finding.model_validate(one).message for one in warnings}
    every = [word for name in FORMATS for word in ("--format", name)]
    out = almr(folder, "export", str(run), *every)
    assert out.returncode == 3
    assert out.stdout.startswith("NO GO: measured losses")
    assert "Traceback" not in out.stderr
    page = (run / "launch" / "GO.md").read_text()
    assert f"| fail | fit | measured losses | simulated by {simulated_table.MADE_BY}; no trial was trained |" in page
    assert "| not known | data | counts of the text | as stated, not counted: English, Chinese |" in page
    for name in FORMATS:
        assert (run / "launch" / name / "start.sh").is_file()
        files = (run / "launch" / name).iterdir()
        heads = [path.read_text() for path in files if path.suffix in (".yaml", ".py", ".txt")]
        assert any(SAID in text for text in heads), name
