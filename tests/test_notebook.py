"""The notebook runs as it is committed, on a run of its own."""

import itertools
import math
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from samples import make_study

from sweep.study import Record, Trial
from sweep.study.study_file import dump

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "inspect_sweep.ipynb"


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


@pytest.mark.slow
def test_every_cell_runs_and_shows_its_table_or_figure(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMR_RUN", str(run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = outputs(notebook)
    figures = [line for line, data in shown.items() if "image/png" in data]
    assert [line.split("(")[0] for line in figures] == [
        "plots.draw_objective",
        "plots.draw_slices",
        "plots.draw_languages",
        "plots.draw_training",
    ]
    assert shown["fit.table"]["text/html"].count("<tr") == 10
    assert "lr_low" in shown['pd.DataFrame(fit.file.model_dump()["curve"])']["text/html"]
    assert not [
        output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"
    ]


def test_cells_hold_no_logic() -> None:
    code = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(len(source.splitlines()) == 1 for source in code[1:])
    assert not [source for source in code if "def " in source or "for " in source or " if " in source]
