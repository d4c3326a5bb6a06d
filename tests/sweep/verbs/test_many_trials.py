"""Trials that a table answered, as the soak of load has them by the thousand: a run that has nothing left to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from many_trials import finished, written
from one_ray import almr

from sweep.verbs.results import fitting
from tests.benchmarks.soaks import load

pytestmark = pytest.mark.slow
REFUSED = (0, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    study = written(folder, 60, seed=1, at_once=4)
    finished(folder, study)
    almr(folder, "run", "many.yaml", status=REFUSED)
    assert load.difference(folder, study) == ""
    return folder


@pytest.fixture
def fits_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(run: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitting, "fit", fit)


def test_another_table_than_was_replayed_is_told(folder: Path) -> None:
    study = written(folder, 60, seed=2, at_once=4)
    assert load.difference(folder, study) == "many: the table is not what was replayed"


@pytest.mark.usefixtures("fits_forbidden")
def test_a_run_with_nothing_left_to_do_takes_its_fit_as_it_is(folder: Path) -> None:
    fit, page = (folder / "runs/many" / name for name in ("fit.json", "report.html"))
    before = fit.read_bytes()
    page.unlink()
    provisional = folder / "runs/many/live.json"
    provisional.write_text("{}")  # of a session that was killed after its last trial
    said = almr(folder, "run", "many.yaml", status=REFUSED)
    assert "winner" in said
    assert fit.read_bytes() == before
    assert page.is_file()
    assert not provisional.exists()


@pytest.mark.usefixtures("fits_forbidden")
@pytest.mark.parametrize("lost", ["figure", "objective", "record"])
def test_a_fit_of_something_else_is_made_anew(folder: Path, lost: str, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(folder / "runs")
    study = yaml.safe_load((folder / "many.yaml").read_text())
    files = folder / "runs/many"
    if lost == "objective":
        study["objective"] = {"weights": {"original": 0.4, "additional": 0.6}}
    file = next(files.glob("figures/*.png")) if lost == "figure" else next(files.glob("trials/*/record.json"))
    content = file.read_bytes()
    if lost != "objective":
        file.write_bytes(content + b"\n")
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(study))
    try:
        with pytest.raises(AssertionError, match="fitted again"):
            almr(tmp_path, "run", "many.yaml", status=REFUSED)
    finally:
        file.write_bytes(content)
