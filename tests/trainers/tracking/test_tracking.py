"""A trial's curves reach the tools that the study names, and no tool can fail a trial."""

from __future__ import annotations

import logging
import struct
import sys
import time
import types
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import pytest
from samples import make_study

from sweep.study import InputError, Record, Study, Trial
from trainers.tracking import packages, study_runs
from trainers.tracking.tracker import Tracker, tracked

TRIAL = Trial(almr=0.5, lr=1e-3, seed=0)
LINES: list[dict[str, Any]] = [
    {"step": 0, "tokens": 0, "held_out": {"original": 3.5, "additional": None}},
    {"step": 10, "tokens": 640, "loss": 4.25, "lr": 1e-3, "seconds": 1.0},
    {"horizon": 512, "step": 12, "tokens": 768, "loss": None, "held_out": {"original": 3.25, "additional": 5.5}},
]


def record(status: str = "complete", study: Study | None = None, **fields: Any) -> Record:
    losses = {"original": 3.0, "additional": 4.0} if status == "complete" else {}
    identity = {"trial_id": TRIAL.id, "fingerprint": (study or make_study()).fingerprint, "attempt": 1, "steps": 12}
    return Record(**TRIAL.model_dump(), **identity, status=status, loss=losses, **fields)


def events(folder: Path) -> list[Any]:
    """Read TensorBoard's event files back: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            [length] = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in events(folder):
        for value in event.summary.value:
            found[value.tag].append((event.step, value.simple_value))
    return found


def hparams(folder: Path) -> tuple[dict[str, Any], int, list[str]]:
    """The line of the tab HPARAMS: hyper-parameters, status (1 success, 2 failure), and the names of its metrics."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    chosen, status, metrics = {}, 0, []
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                metrics += [one.name.tag for one in data.experiment.metric_infos]
                status = data.session_end_info.status or status
                one = data.session_start_info.hparams
                chosen |= {name: one[name].string_value or one[name].number_value for name in one}
    return chosen, status, metrics


def test_tensorboard_has_each_number_of_each_line_at_its_step(tmp_path: Path) -> None:
    with tracked(make_study(), TRIAL, tmp_path) as tracker:
        for line in LINES:
            tracker.log(line)
    found = scalars(tmp_path / "tensorboard")
    assert found["held_out/original"] == [(0, 3.5)]
    assert found["train/loss"] == [(10, 4.25)]
    assert found["horizon_512/held_out/additional"] == [(12, 5.5)]
    assert not {"held_out/additional", "horizon_512/train/loss", "train/step"} & set(found)


@pytest.mark.parametrize(("status", "well", "objective"), [("complete", 1, [(12, 3.5)]), ("diverged", 1, [])])
def test_the_tab_hparams_has_one_line_for_a_trial(
    status: str, well: int, objective: list[tuple[int, float]], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError), tracked(make_study(), TRIAL, tmp_path):
        raise RuntimeError("the first attempt")
    folder = tmp_path / "tensorboard"
    assert hparams(folder)[:2] == ({"almr": 0.5, "lr": 1e-3, "seed": 0.0, "status": "failed"}, 2)
    with tracked(make_study(), TRIAL, tmp_path) as tracker:
        tracker.log(LINES[1])
        tracker.ended(record(status))
    chosen, ended, metrics = hparams(folder)
    assert (chosen["status"], ended, metrics) == (status, well, ["objective", "loss/original", "loss/additional"])
    assert scalars(folder)["objective"] == objective
    assert {path.parent for path in tmp_path.rglob("events.*")} == {folder}, "TensorBoard takes a folder as a run"


def test_a_trial_whose_worker_was_killed_is_ended_by_the_driver(tmp_path: Path) -> None:
    with tracked(make_study(), TRIAL, tmp_path) as tracker:
        tracker.log(LINES[1])
    study_runs.end_trial(make_study(), record("failed", reason="killed"), tmp_path, pytest.fail)
    assert hparams(tmp_path / "tensorboard")[0]["status"] == "failed"
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(10, 4.25)]


def test_a_study_may_have_none(tmp_path: Path) -> None:
    with tracked(make_study(tracking={"tensorboard": False}), TRIAL, tmp_path) as tracker:
        tracker.log(LINES[0])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line_before_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    packages.refuse_missing(make_study(tracking={"mlflow": "sqlite:///x.db"}).tracking)
    with pytest.raises(InputError, match=r"^tracking.wandb: wandb is not installed: pip install [^\n]*$"):
        packages.refuse_missing(make_study(tracking={"wandb": "project"}).tracking)


class Client:
    """Of MLflow, as far as it is used; a URI of `down` is a server that does not answer."""

    made: ClassVar[list[Client]] = []

    def __init__(self, tracking_uri: str) -> None:
        self.down, self.experiments, self.metrics = tracking_uri == "down", {}, []
        self.params: dict[str, Any] = {}
        self.tags: dict[str, str] = {}
        self.ended: str | None = None
        self.made.append(self)

    def get_experiment_by_name(self, name: str) -> Any:
        if self.down:
            raise ConnectionError("no route to the server")
        return self.experiments.get(name)

    def create_experiment(self, name: str, artifact_location: str | None, tags: dict[str, str]) -> str:
        self.experiments[name] = types.SimpleNamespace(experiment_id="1")
        return "1"

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        self.tags |= tags
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_name))

    def log_param(self, run: str, name: str, value: Any) -> None:
        self.params[name] = value

    def update_run(self, run: str, status: str) -> None:
        assert status == "RUNNING"

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.tags[name] = value

    def delete_tag(self, run: str, name: str) -> None:
        self.tags.pop(name)

    def log_batch(self, run: str, metrics: list[Any]) -> None:
        self.metrics += metrics

    def set_terminated(self, run: str, status: str) -> None:
        self.ended = status


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    module, entities = types.ModuleType("mlflow"), types.ModuleType("mlflow.entities")
    module.MlflowClient, entities.Metric = Client, lambda *parts: parts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr(Client, "made", [])
    return Client


def test_mlflow_gets_values_and_the_end(tmp_path: Path, mlflow: type[Client]) -> None:
    study = make_study(tracking={"tensorboard": False, "mlflow": "sqlite:///x.db"})
    with tracked(study, TRIAL, tmp_path) as tracker:
        tracker.log(LINES[1])
    [client] = mlflow.made
    assert {(name, value, step) for name, value, _, step in client.metrics} >= {("train/loss", 4.25, 10)}
    assert client.params["almr"] == 0.5
    assert client.ended == "FINISHED"
    assert client.tags["status"] == "ended"
    with pytest.raises(RuntimeError), tracked(study, TRIAL, tmp_path):
        raise RuntimeError
    assert mlflow.made[1].ended == "FAILED"


@pytest.mark.parametrize(
    ("end", "status"),
    [("finished", "FINISHED"), ("refused", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")],
)
def test_mlflow_knows_how_the_study_ended(tmp_path: Path, mlflow: type[Client], end: str, status: str) -> None:
    study = make_study(tracking={"tensorboard": False, "mlflow": "sqlite:///x.db"})
    study_runs.open_runs(study, tmp_path, pytest.fail)
    study_runs.conclude(study, tmp_path, {"reason": "no space"}, [], end, pytest.fail)
    assert (mlflow.made[-1].ended, mlflow.made[-1].tags["status"]) == (status, end)


def test_refusals_of_an_earlier_session_do_not_stay(
    tmp_path: Path, mlflow: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, client = make_study(tracking={"tensorboard": False, "mlflow": "sqlite:///x.db"}), Client("x")
    monkeypatch.setattr(sys.modules["mlflow"], "MlflowClient", lambda tracking_uri: client)
    refused = {"winner_lr": 1e-3, "refusals": "edge: the best LR is at the edge", "warnings": "few trials"}
    for facts in (refused | {"reason": "edge"}, refused | {"refusals": None, "warnings": None}):
        study_runs.conclude(study, tmp_path, facts, [], "finished", pytest.fail)
    assert (client.tags["status"], client.metrics[-1][:2]) == ("finished", ("winner_lr", 1e-3))
    assert not {"refusals", "warnings", "reason"} & client.tags.keys()


def test_the_run_of_the_study_in_wandb_keeps_no_word_of_an_earlier_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}  # W&B keeps the summary of a run that is resumed
    module, run = types.ModuleType("wandb"), types.SimpleNamespace(summary=kept, finish=lambda: None)
    module.init = lambda **given: run  # type: ignore[attr-defined]
    module.Settings = type("Settings", (types.SimpleNamespace,), {"model_fields": {}})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    study = make_study(tracking={"tensorboard": False, "wandb": "project"})
    for facts in ({"refusals": "edge", "reason": "edge"}, {"refusals": None, "winner_lr": 1e-3}):
        study_runs.conclude(study, tmp_path, facts, [], "finished", pytest.fail)
    assert kept == {"refusals": None, "reason": "", "winner_lr": 1e-3}


def test_a_server_that_is_down_is_a_warning(
    tmp_path: Path, mlflow: type[Client], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        tracked(make_study(tracking={"mlflow": "down"}), TRIAL, tmp_path) as tracker,
    ):
        tracker.log(LINES[1])
    [warning] = caplog.messages
    assert "tracking.mlflow: could not open it (ConnectionError: no route to the server)" in warning
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(10, 4.25)]


def test_a_tool_that_breaks_on_the_way_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        calls = 0

        def put(self, values: dict[str, float], step: int) -> None:
            self.calls += 1
            raise OSError("disk full")

        def close(self, outcome: Any) -> None:
            raise AssertionError("it was left out")

    broken = Broken()
    tracker = Tracker(make_study(), {"wandb": broken})
    for _ in range(3):
        tracker.log(LINES[1])
    tracker.close()
    assert broken.calls == 1
    assert len(caplog.messages) == 1


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('mlflow')", reason="the extra `tracking`")
def test_real_mlflow_ranks_trials_under_the_run_of_the_study(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    study = make_study(tracking={"tensorboard": False, "mlflow": f"sqlite:///{tmp_path}/tracking.db"})
    folder = tmp_path / "trials" / TRIAL.id
    folder.mkdir(parents=True)
    (tmp_path / "fit.json").write_text("{}")
    study_runs.open_runs(study, tmp_path, pytest.fail)
    with pytest.raises(RuntimeError), tracked(study, TRIAL, folder):
        raise RuntimeError("the first attempt")
    with tracked(study, TRIAL, folder) as tracker:
        tracker.log(LINES[1])
        tracker.ended(record())
    facts = {"winner_lr": 1e-3, "verdict": "GO"}
    study_runs.conclude(study, tmp_path, facts, [tmp_path / "fit.json"], "finished", pytest.fail)
    client = MlflowClient(tracking_uri=study.tracking.mlflow)
    [experiment] = [one for one in client.search_experiments() if one.name == study.name]
    trial, whole = client.search_runs([experiment.experiment_id], order_by=["metrics.objective ASC"])
    assert (trial.data.metrics["train/loss"], trial.data.metrics["objective"]) == (4.25, 3.5)
    assert (trial.info.status, trial.data.tags["status"]) == ("FINISHED", "complete")
    assert "reason" not in trial.data.tags, "it was that of the first attempt"
    assert trial.data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert (whole.data.metrics["winner_lr"], whole.data.tags["verdict"]) == (1e-3, "GO")
    assert [one.path for one in client.list_artifacts(whole.info.run_id)] == ["fit.json"]


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('wandb')", reason="the extra `tracking`")
def test_real_wandb_runs_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    study = make_study(tracking={"tensorboard": False, "wandb": "project"})
    with pytest.raises(RuntimeError), tracked(study, TRIAL, tmp_path):
        raise RuntimeError("the first attempt")
    with tracked(study, TRIAL, tmp_path) as tracker:
        tracker.log(LINES[1])
        tracker.ended(record("diverged"))
        assert list(tracker.sessions) == ["wandb"]
    first, second = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    assert first.name == second.name, "both attempts are one run"
    deadline = time.monotonic() + 30  # version 0.20 writes on after the end
    found = wandb_records(second)
    while not any(one.HasField("exit") for one in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        found = wandb_records(second)
    assert [list(one.run.tags) for one in found if one.HasField("run")][-1] == ["diverged"]
    values = {u.key: u.value_json for one in found if one.HasField("summary") for u in one.summary.update}
    assert values["status"] == '"diverged"'


def wandb_records(path: Path) -> list[Any]:
    """The messages of an offline run: blocks of 32 KiB with pieces of a checksum, a length and a kind each."""
    from wandb.proto.wandb_internal_pb2 import Record as Message

    data, at, part, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part, at = part + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last piece
            found.append(Message.FromString(part))
            part = b""
    return found
