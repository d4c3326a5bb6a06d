"""A folder of the user's in the place of a run: nothing in it is replaced or removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import make_study

from sweep.store import provenance
from sweep.store.run import Run
from sweep.study import InputError, Study, study_file


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study()


@pytest.fixture
def project(tmp_path: Path, study: Study) -> Run:
    """A project with the study's name and file, below what is given as --runs."""
    run = Run(tmp_path / study.name)
    run.folder.mkdir()
    run.files.study.write_text(f"# why these LRs\n{study_file.dump(study)}")
    return run


@pytest.mark.parametrize("name", ["main.py", "analysis/own.py", ".git/config"])
def test_code_of_the_user_is_not_emptied(project: Run, name: str) -> None:
    path = project.files.code / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    held = name.partition("/")[0]
    with pytest.raises(InputError, match=r"small: is no run, and holds code: move it away, or give the study another"):
        project.refuse_foreign()
    with pytest.raises(InputError, match=rf"code: holds {held}, which almr did not write, and a run empties"):
        project.stage_code()
    assert path.read_text() == "mine"


def test_other_files_of_the_user_are_not_in_a_run(project: Run, study: Study) -> None:
    project.refuse_foreign()
    project.freeze(study)
    assert project.files.study.read_text().startswith("# why these LRs\n")  # the same study is not written anew
    project.files.report.write_text("mine")
    with pytest.raises(InputError, match=r"holds report\.html"):
        project.refuse_foreign()


def test_a_run_that_was_killed_as_it_began_goes_on(project: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.files.code / "sweep" / "store").mkdir(parents=True)  # a copy that was cut short
    project.files.lock.touch()
    project.refuse_foreign()
    project.stage_code()
    with monkeypatch.context() as patch:  # killed while it empties the folder
        patch.setattr(provenance.unfinished, "remove", _once(provenance.unfinished.remove))
        with pytest.raises(KeyboardInterrupt):
            project.stage_code()
    assert provenance.foreign(project.files.code) is None
    project.stage_code()
    assert {path.name for path in project.files.code.iterdir()} == {*provenance.PACKAGES}


def test_a_run_whose_first_session_ended_while_it_was_prepared_goes_on(project: Run) -> None:
    """W&B has told of that end from a folder of its own in the run, which has no trial yet."""
    (project.folder / "wandb" / "offline-run-1").mkdir(parents=True)
    project.files.tracking.write_text("{}")
    project.refuse_foreign()


def _once(remove: object) -> object:
    done: list[Path] = []

    def removed(path: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(path)
        remove(path)  # type: ignore[operator]

    return removed
