"""The model that a launch left: found by the study of its bundle, trained where a CPU suffices, else told how."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from samples import make_study

from sweep.store.run import Run
from sweep.study import InputError, Record, Status, Study, study_file
from sweep.study.sections.post_training import ChainModel
from sweep.verbs.stages import launched

OF_DEMO = ChainModel(launch="small")


def one_trial(lr: float = 1e-3, **resources: int) -> Study:
    grid = {"almr": [0.5], "lr": [lr], "seeds": [0]}
    return make_study(name="small-launch", grid=grid, resources=resources, keep="all")


def exported(study: Study, script: str = "exit 3") -> Run:
    run = Run.within("runs", "small")
    bundle = run.files.launch / "native"
    bundle.mkdir(parents=True)
    run.files.study.write_text(study_file.dump(make_study()))
    (bundle / "study.yaml").write_text(study_file.dump(study))
    (bundle / "start.sh").write_text(f"#!/usr/bin/env bash\n{script}\n")
    return run


def trained(run: Run, study: Study, status: Status = Status.COMPLETE) -> Path:
    """A launch of this study that ended, as start.sh leaves it."""
    found = Run(run.folder / f"checkpoints-{study.fingerprint[:8]}")
    [trial] = study.grid_trials
    files = found.files.trial(trial.id)
    files.model.mkdir(parents=True)
    found.files.study.write_text(study_file.dump(study))
    record = Record(**trial.model_dump(), trial_id=trial.id, fingerprint=study.fingerprint, status=status, attempt=1)
    files.record.write_text(record.model_dump_json())
    return files.model


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALMR_CHECKPOINTS", raising=False)


def find() -> launched.Launched:
    return launched.find(OF_DEMO, "runs", Console(quiet=True))


def test_the_model_of_this_bundle_s_launch_is_found_and_no_other() -> None:
    study = one_trial()
    run = exported(study)
    trained(run, one_trial(lr=2e-3))
    with pytest.raises(InputError, match=r"model\.launch: start\.sh ended with status 3: it printed nothing"):
        find()
    model = trained(run, study)
    found = find()
    assert found.model.pretrained == str(model)
    assert found.run
    assert found.run.address == run.address
    assert launched.planned(OF_DEMO, "runs")[0].pretrained == str(model)


def test_a_launch_is_trained_below_the_folder_that_a_relative_path_names_here(tmp_path, monkeypatch) -> None:
    """Its script runs in another folder, where the same path would name another one."""
    exported(one_trial(), 'printf "%s\n" "$ALMR_CHECKPOINTS"; exit 3')
    monkeypatch.setenv("ALMR_CHECKPOINTS", "kept")
    with pytest.raises(InputError, match=f"status 3: {tmp_path}/kept "):
        find()


@pytest.mark.parametrize("moved", [shutil.move, shutil.copytree])
def test_a_launch_that_was_copied_or_moved_is_found(moved: Callable[[str, str], object]) -> None:
    """Its bundle has the held-out text beside it, which the launch excluded by the path of then."""
    run, asked = bundle_with_held_out()
    trained(run, asked)
    moved("runs", "elsewhere")
    found = launched.find(OF_DEMO, "elsewhere", Console(quiet=True))
    assert str(found.model.pretrained).startswith(str(Path("elsewhere/small/checkpoints-").resolve()))


def test_a_launch_without_other_held_out_text_is_another_one() -> None:
    run, asked = bundle_with_held_out()
    trained(run, asked)
    shutil.copytree("runs", "elsewhere")
    Path("elsewhere/small/launch/native/held_out/original.jsonl").write_text("")
    with pytest.raises(InputError, match="ended with status 3"):
        launched.find(OF_DEMO, "elsewhere", Console(quiet=True))


def bundle_with_held_out() -> tuple[Run, Study]:
    """A run with its bundle, and the study of the bundle as its launch read it."""
    run = exported(one_trial())
    bundle = run.files.launch / "native"
    content = yaml.safe_load((bundle / "study.yaml").read_text())
    for language in ("original", "additional"):
        content["corpora"][language]["exclude"] = ["held_out/original.jsonl"]
    (bundle / "study.yaml").write_text(yaml.safe_dump(content))
    (bundle / "held_out").mkdir()
    (bundle / "held_out" / "original.jsonl").write_text('{"text": "held out"}\n')
    return run, study_file.load(bundle / "study.yaml")


def test_a_launch_that_diverged_left_no_model() -> None:
    study = one_trial()
    run = exported(study)
    trained(run, study, Status.DIVERGED)
    with pytest.raises(InputError, match="ended with status 3"):
        find()


def test_a_launch_on_gpus_is_for_its_user_to_start() -> None:
    exported(one_trial(nodes=1, gpus_per_node=1))
    for look in (find, lambda: launched.planned(OF_DEMO, "runs")):
        with pytest.raises(InputError, match=r"needs GPUs: bash \S+runs/small/launch/native/start\.sh trains it"):
            look()


def test_a_run_that_was_not_exported_says_how() -> None:
    run = Run.within("runs", "small")
    run.folder.mkdir(parents=True)
    run.files.study.write_text(study_file.dump(make_study()))
    with pytest.raises(
        InputError, match=r"has no launch bundle for almr's own trainer: almr export \S+small writes one"
    ):
        find()


def test_a_launch_on_the_cpu_is_started_and_one_that_leaves_nothing_is_told() -> None:
    run = exported(one_trial(), "echo trained")
    with pytest.raises(InputError, match=r"the launch ended without a model, log: \S+launch\.log"):
        find()
    assert "trained" in (run.folder / "launch.log").read_text()
