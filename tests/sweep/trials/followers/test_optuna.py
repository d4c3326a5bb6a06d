"""A run as an Optuna storage: exported, and kept up to date while it goes on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import bowl_run
import optuna
import pytest
from one_ray import almr
from optuna.trial import FrozenTrial, TrialState

from sweep.store.run import Run
from sweep.study import Record, Study, Trial, study_file
from sweep.trials.followers.optuna.storage import OptunaStorage
from sweep.verbs.results import fitting

GUARDED = {"guards": [{"source": "original", "at_most_percent": 5.0}]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "small").mkdir()
    bowl_run.write(tmp_path / "small", bowl_run.study())
    return tmp_path / "small"


def trials(path: Path) -> dict[str, FrozenTrial]:
    found = optuna.load_study(study_name="small", storage=f"sqlite:///{path}").trials
    by_id = {trial.user_attrs["trial_id"]: trial for trial in found}
    assert len(by_id) == len(found), "a trial is there twice"
    return by_id


def change(run: Path, trial: Trial, **fields: object) -> Record:
    path = run / "trials" / trial.id / "record.json"
    record = json.loads(path.read_text()) | fields
    path.write_text(json.dumps(record))
    return Record.model_validate(record)


def test_each_trial_has_its_state_value_parameters_and_losses(run: Path, tmp_path: Path) -> None:
    good, blown, lost = (Trial(almr=0.5, lr=lr, seed=0) for lr in (3e-3, 1e-2, 1e-3))
    change(run, blown, status="diverged", reason="blew up", loss={})
    change(run, lost, status="failed", reason="disk full", loss={})
    change(run, good, seconds=60.0, scores={"c3": {"value": 0.5}})
    (run / "trials" / good.id / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": step, "loss": 5 - step / 100, "seconds": 1.0}) + "\n" for step in range(1, 251))
    )
    out = json.loads(almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".", "--json"))
    assert out["trials"] == 9
    found = trials(run / "optuna.db")
    one = found[good.id]
    assert (one.state, one.params) == (TrialState.COMPLETE, {"almr": 0.5, "lr": 3e-3})
    assert one.value == pytest.approx(0.5 * 3.0 + 0.5 * (4.0 - 0.5 / 9))
    assert one.distributions["lr"] == optuna.distributions.FloatDistribution(1e-3, 1e-2, log=True)
    assert one.user_attrs["score_c3"] == 0.5
    assert one.duration == timedelta(minutes=1)
    assert (max(one.intermediate_values), len(one.intermediate_values)) == (250, 84)
    assert (found[blown.id].state, found[blown.id].user_attrs["reason"]) == (TrialState.PRUNED, "blew up")
    assert found[lost.id].state is TrialState.FAIL
    assert optuna.load_study(study_name="small", storage=out["url"]).best_trial.params == one.params


@pytest.mark.parametrize("name", ["a?b", "e%20f"])
def test_a_path_that_no_address_of_optuna_names_is_refused_before_another_file_is_opened(
    name: str, run: Path, tmp_path: Path
) -> None:
    out = almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".", "--out", name, status=(2,))
    assert f"Optuna's addresses of files take no {name[1]}" in out
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_the_winner_of_a_fit_stands_in_the_study(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting.plots, "write_figures", lambda *_: [])  # pixels, and seconds
    almr(tmp_path, "fit", "small", "--runs", ".", status=(0, 3))
    almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".", "--out", "there")
    attributes = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/there/optuna.db").user_attrs
    winner = json.loads((run / "fit.json").read_text())["winner"]
    assert (attributes["winner_almr"], attributes["winner_lr"]) == (winner["almr"], winner["lr"])
    assert attributes["winner_lr_low"] == winner["lr_interval"]["low"]
    assert attributes["verdict"] in ("FITTED", "REFUSED")


def test_a_trial_over_a_guard_keeps_its_value_and_is_not_the_best(run: Path, tmp_path: Path) -> None:
    (run / "study.yaml").write_text(study_file.dump(bowl_run.study(objective=GUARDED)))
    best = Trial(almr=0.5, lr=3e-3, seed=0)
    for path in run.glob("trials/*"):
        change(
            run,
            Trial(**{n: json.loads((path / "record.json").read_text())[n] for n in ("almr", "lr", "seed")}),
            base_loss={"original": 3.2, "additional": 5.0},
        )
    change(run, best, base_loss={"original": 2.5, "additional": 5.0})
    unknown = Trial(almr=0.5, lr=1e-3, seed=0)  # of a base model that was not measured
    change(run, unknown, loss={"original": 2.0, "additional": 2.0}, base_loss={})
    almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".")
    assert trials(run / "optuna.db")[unknown.id].system_attrs["constraints"] == [1.0]
    chosen = optuna.load_study(study_name="small", storage=f"sqlite:///{run}/optuna.db").best_trial
    assert chosen.user_attrs["trial_id"] not in (best.id, unknown.id)
    found = trials(run / "optuna.db")[best.id]
    assert (found.state, found.user_attrs["over_the_guard_of"]) == (TrialState.COMPLETE, "original")
    assert found.system_attrs["constraints"] == [pytest.approx(3.0 - 2.5 * 1.05)]


def test_exported_again_it_is_brought_up_to_date_in_place(run: Path, tmp_path: Path) -> None:
    """A dashboard that has the file open goes on reading it."""
    trial = Trial(almr=0.5, lr=3e-3, seed=0)
    change(run, trial, status="failed", reason="disk full", loss={})
    almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".")
    with closing(sqlite3.connect(run / "optuna.db")) as reader:
        assert reader.execute("SELECT count(*) FROM trials WHERE state = 'FAIL'").fetchone() == (1,)
        change(run, trial, status="complete", reason=None, loss={"original": 3.0, "additional": 4.0})
        almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".")
        assert reader.execute("SELECT count(*) FROM trials WHERE state = 'FAIL'").fetchone() == (0,)
    found = trials(run / "optuna.db")
    assert (len(found), found[trial.id].value, found[trial.id].state) == (9, 3.5, TrialState.COMPLETE)
    assert "reason" not in found[trial.id].user_attrs


def test_a_session_that_is_interrupted_and_resumed_has_no_trial_twice(run: Path, tmp_path: Path) -> None:
    known, study = Run(run), bowl_run.study()
    trial, url = Trial(almr=0.3, lr=2e-3, seed=0), f"sqlite:///{tmp_path}/live.db"
    states = []
    for last in (False, True):
        with closing(OptunaStorage(url, study, known)) as storage:
            storage.begin(trial)
            states.append(trials(tmp_path / "live.db")[trial.id].state)
            if last:
                (run / "trials" / trial.id).mkdir()
                storage.sync([bowl_run.record(study, trial, 3.0)])
            storage.interrupt()
        states.append(trials(tmp_path / "live.db")[trial.id].state)
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE]
    assert list(trials(tmp_path / "live.db")) == [trial.id]


def a_text(path: Path, run: Path, study: Study) -> None:
    path.write_text("no database, " * 99)


def another_run(path: Path, run: Path, study: Study) -> None:
    with closing(OptunaStorage(f"sqlite:///{path}", study, Run(run.parent / "other"))) as storage:
        storage.describe({"fingerprint": "of another recipe"})


@pytest.mark.parametrize(
    ("made", "said"),
    [(a_text, "not written as an Optuna storage (file is not a database)"), (another_run, "of another run, ")],
)
def test_a_file_that_is_not_its_own_is_left_as_it_is(
    made: Callable[[Path, Path, Study], None], said: str, run: Path, tmp_path: Path
) -> None:
    made(run / "optuna.db", run, bowl_run.study())
    before = (run / "optuna.db").read_bytes()
    assert said in almr(tmp_path, "export", "small", "--format", "optuna", "--runs", ".", status=(2,))
    assert (run / "optuna.db").read_bytes() == before


def test_a_storage_is_a_file_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(study_file.dump(bowl_run.study()).replace("tensorboard: true", "optuna: sqlite:///o.db"))
    assert study_file.load(path).tracking.optuna == f"sqlite:///{tmp_path}/o.db"
    path.write_text(path.read_text().replace("sqlite:///o.db", "mysql://host/o"))
    assert "tracking.optuna: write a file of SQLite" in almr(tmp_path, "plan", str(path), status=(2,))
