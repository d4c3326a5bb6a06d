"""The notebooks run as they are committed, on runs of their own."""

import itertools
import math
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from samples import make_study

from analysis.fit.fit import fit_study
from analysis.fit_file.inputs import FitInputs
from analysis.table import table as tables
from sweep.study import Record, Trial
from sweep.study.study_file import dump, load

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MOST_BYTES = 600_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of nine trials whose best is in the middle."""
    for almr, lr in itertools.product((0.1, 0.5, 0.9), (1e-4, 1e-3, 1e-2)):
        trial, dip = Trial(almr=almr, lr=lr, seed=0), 0.05 * math.log(lr / 1e-3) ** 2
        loss = {"original": 3.5 + almr**2 / 2 + dip, "additional": 4.5 + (1 - almr) ** 2 / 2 + dip}
        record = Record.model_validate(
            trial.model_dump()
            | {"trial_id": trial.id, "fingerprint": make_study().fingerprint}
            | {"status": "complete", "attempt": 1, "loss": loss}
        )
        folder = tmp_path / "trials" / trial.id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(record.model_dump_json())
        (folder / "metrics.jsonl").write_text('{"tokens": 256, "loss": 5}\n{"tokens": 512, "loss": 4}\n')
    (tmp_path / "study.yaml").write_text(dump(make_study(grid={"almr": [0.1, 0.5, 0.9], "lr": [1e-4, 1e-3, 1e-2]})))
    return tmp_path


def outputs(notebook: nbformat.NotebookNode) -> dict[str, dict[str, str]]:
    """What each cell shows, by its last line."""
    shown = ((c.source.splitlines()[-1], o) for c in notebook.cells if c.cell_type == "code" for o in c.outputs)
    return {line: output.data for line, output in shown if output.output_type in ("execute_result", "display_data")}


def executed(path: Path) -> dict[str, dict[str, str]]:
    """What each cell of a notebook shows when it is run; nothing is printed beside."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    every = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in every if output.output_type == "stream"]
    return outputs(notebook)


@pytest.mark.slow
def test_explore_shows_the_winner_the_surface_a_slice_and_a_trial(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMR_RUN", str(run))
    shown = executed(NOTEBOOKS[1])
    figures = [line.split("(")[0] for line, data in shown.items() if "image/png" in data]
    assert figures == ["views.surface", "views.surface", "views.slice_at", "views.training", "views.languages"]
    assert "ALMR" in shown["views.winner(fit)"]["text/html"]
    assert "almr=0.50_lr=1e-02_seed=0" in shown["views.trial(fit, almr, lr).to_frame()"]["text/html"]
    assert [data["text/html"].count("<tr") for line, data in shown.items() if line.startswith("fit.table")] == [10]


@pytest.mark.slow
def test_compare_shows_verdicts_winners_costs_and_a_map_of_each_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load(run / "study.yaml")
    file = fit_study(study, tables.of_run(run, study)).file
    (run / "fit.json").write_text(file.model_copy(update={"inputs": FitInputs.of_run(study, run)}).model_dump_json())
    again = shutil.copytree(run, run.parent / "again")
    monkeypatch.setenv("ALMR_RUNS", f"{run},{again}")
    shown = executed(NOTEBOOKS[0])
    assert "CARRIES OVER" in shown["views.verdicts(found)"]["text/html"]
    assert "no difference of the optima is shown" in shown["views.words(found)"]["text/html"]
    assert "+0.0000 nats" in shown["views.costs(found)"]["text/html"]
    assert "image/png" in shown["display(*views.maps(found, fits).values())"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_hold_no_logic_and_outputs_are_small_and_name_no_machine(path: Path) -> None:
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(len(source.splitlines()) == 1 for source in code[1:])
    assert not [source for source in code if "def " in source or "for " in source or " if " in source]
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert '"outputs": []' not in text.split(code[1].splitlines()[0])[-1]  # every cell after the first shows something
    assert not re.search(r"/(home|root|tmp|work|Users)/", re.sub(r'"image/png": "[^"]*"', "", text))
