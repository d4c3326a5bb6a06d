"""What a second fit leaves of the first one in the same folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from known_fits import known_fit

from analysis.fit_file.scores import ScoresFile
from analysis.scores import files as score_files
from sweep.verbs.results import fit_folder

SCORES = ScoresFile(level=0.9, winner_trial=None, trials=0, comparisons=0, rows=())
FIGURES = ("objective.png", "objective.csv", "front.png", "front.csv", "transfer.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a fit of several figures and scores, of which the user has changed one each; and a file elsewhere, which the
    fit names too.
    """
    folder, outside = tmp_path / "run", tmp_path / "evil.csv"
    (folder / "figures").mkdir(parents=True)
    figures = {}
    for path in (*(folder / "figures" / name for name in FIGURES), outside):
        path.write_text(path.name)
        name = "../../evil.csv" if path == outside else path.name.removesuffix(".png")
        figures[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for name, text in score_files.texts(SCORES).items():
        (folder / name).write_text(text)
    (folder / "figures" / "transfer.csv").write_text("mine")
    (folder / "scores.md").write_text("mine")
    file = known_fit("run").file.model_copy(update={"figures": figures, "scores": SCORES}).hashed()
    (folder / "fit.json").write_text(file.model_dump_json())
    return folder


def test_figures_and_scores_that_a_fit_no_longer_has_are_not_left_as_its_own(folder: Path) -> None:
    """As of an objective that has no front any more, or of a table without the languages' losses."""
    fitted = known_fit("run")
    fitted.file.figures.update({"objective": "", "objective.csv": ""})
    fit_folder.remove_earlier(folder, fitted)
    left = sorted(path.relative_to(folder.parent).as_posix() for path in folder.parent.rglob("*") if path.is_file())
    kept = ["objective.csv", "objective.png", "transfer.csv"]
    assert left == ["evil.csv", *(f"run/figures/{name}" for name in kept), "run/fit.json", "run/scores.md"]


def test_of_a_fit_that_cannot_be_read_nothing_is_removed(folder: Path) -> None:
    (folder / "fit.json").write_text("{")
    before = sorted(folder.rglob("*"))
    fit_folder.remove_earlier(folder, known_fit("run"))
    assert sorted(folder.rglob("*")) == before
