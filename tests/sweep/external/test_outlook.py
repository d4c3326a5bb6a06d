"""What a plan says of a trainer other than ours, and what is refused before anything is trained."""

from __future__ import annotations

import pytest
import yaml
from one_ray import almr
from samples import make_study, study_content

from sweep.external import outlook
from sweep.external.runs import start
from sweep.study import InputError

NONE = "no environment for llamafactory: set ALMR_EXPORT_VENVS, or trainer.environment in the study"


@pytest.fixture(autouse=True)
def no_environments(monkeypatch):
    monkeypatch.delenv("ALMR_EXPORT_VENVS", raising=False)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An environment that states a version."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\necho 0.9.5\n")
    python.chmod(0o755)
    return str(tmp_path)


def test_a_plan_says_version_environment_and_what_is_not_recorded(installed):
    study = make_study(trainer={"name": "llamafactory", "environment": installed})
    first, second = outlook.lines(study)
    assert first == f"trainer: llamafactory 0.9.5, environment {installed}"
    assert second.startswith("trainer: 8 checkpoints a trial, of which the newest is kept;")
    assert "not in its records: memory" in second
    assert outlook.warnings(study) == []
    outlook.refuse_missing(study)


def test_horizons_are_told_as_runs_of_their_own(installed):
    training = study_content()["training"] | {"horizons": [1024], "schedule": {"name": "wsd"}}
    study = make_study(trainer={"name": "llamafactory", "environment": installed}, training=training)
    assert outlook.lines(study)[-1] == "trainer: each horizon is a run of its own: 1 more a trial, 1.02k tokens"
    assert study.trained_tokens == 2048 + 1024
    assert make_study(training=training).trained_tokens < 2048 + 1024


def test_what_another_trainer_does_not_do_is_a_warning(installed):
    study = make_study(
        trainer={"name": "axolotl", "environment": installed},
        execution={"compile": True, "checkpoint_minutes": 1},
        resources={"processes": 2},
        training=study_content()["training"] | {"schedule": {"name": "wsd"}},
    )
    wsd, *others = outlook.warnings(study)
    assert "WSD" in wsd
    assert others == [
        "execution.compile is of our own trainer: axolotl does not use it",
        "resources.processes is of our own trainer: axolotl has one process on a node without GPUs",
    ]


@pytest.mark.parametrize("name", ["native", "llamafactory"])
def test_our_own_trainer_and_a_replay_have_no_lines(name):
    study = make_study() if name == "native" else make_study(trainer=name).model_copy(update={"replay": object()})
    assert outlook.lines(study) == outlook.warnings(study) == []
    outlook.refuse_missing(study)


def test_a_run_without_the_trainers_environment_is_one_line_before_anything_is_prepared(tmp_path, cache):
    grid = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study_content(trainer="llamafactory", grid=grid)))
    assert almr(tmp_path, "run", "study.yaml", status=(2,)) == f"trainer: {NONE}"
    assert not cache.exists() or not list(cache.iterdir())
    planned = almr(tmp_path, "plan", "study.yaml")
    assert "trainer: llamafactory, which is not here" in planned
    assert f"warning: trainer: {NONE}: almr run will refuse to start" in " ".join(planned.split())


def test_an_environment_without_the_trainer_is_refused(installed, monkeypatch):
    study = make_study(trainer={"name": "axolotl", "environment": installed})
    monkeypatch.setattr(start, "version", lambda found, name: "")
    with pytest.raises(InputError, match=f"trainer: {installed}/bin/python has no axolotl: install it there"):
        outlook.refuse_missing(study)


@pytest.mark.parametrize("name", start.NEEDS_GPU)
def test_a_trainer_that_needs_a_gpu_is_refused_on_cpus_unless_it_is_given_what_it_lacks(installed, name):
    with pytest.raises(InputError, match=f"trainer: {name} needs a GPU"):
        outlook.refuse_missing(make_study(trainer={"name": name, "environment": installed}))
    variables = {"PYTHONPATH": "/lacks"}
    outlook.refuse_missing(make_study(trainer={"name": name, "environment": installed, "variables": variables}))
