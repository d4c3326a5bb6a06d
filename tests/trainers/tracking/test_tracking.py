"""A trial's curves reach the tools that the study names, and no tool can fail a trial."""

from __future__ import annotations

import logging
import struct
import sys
import types
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import pytest
from samples import make_study

from sweep.study import InputError, Trial
from trainers import tracking

TRIAL = Trial(almr=0.5, lr=1e-3, seed=0)
LINES: list[dict[str, Any]] = [
    {"step": 0, "tokens": 0, "held_out": {"original": 3.5, "additional": None}},
    {"step": 10, "tokens": 640, "loss": 4.25, "lr": 1e-3, "seconds": 1.0},
    {"horizon": 512, "step": 12, "tokens": 768, "loss": None, "held_out": {"original": 3.25, "additional": 5.5}},
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read TensorBoard's event files back: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            [length] = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
            for value in event.summary.value:
                found[value.tag].append((event.step, value.simple_value))
    return found


def test_tensorboard_has_each_number_of_each_line_at_its_step(tmp_path: Path) -> None:
    with tracking.tracked(make_study(), TRIAL, tmp_path) as tracked:
        for line in LINES:
            tracked.log(line)
    found = scalars(tmp_path / "tensorboard")
    assert found["held_out/original"] == [(0, 3.5)]
    assert found["train/loss"] == [(10, 4.25)]
    assert found["horizon_512/held_out/additional"] == [(12, 5.5)]
    assert not {"held_out/additional", "horizon_512/train/loss", "train/step"} & set(found)


def test_a_study_may_have_none(tmp_path: Path) -> None:
    with tracking.tracked(make_study(tracking={"tensorboard": False}), TRIAL, tmp_path) as tracked:
        tracked.log(LINES[0])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line_before_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    tracking.refuse_missing(make_study(tracking={"mlflow": "sqlite:///x.db"}).tracking)
    with pytest.raises(InputError, match=r"^tracking.wandb: wandb is not installed: pip install [^\n]*$"):
        tracking.refuse_missing(make_study(tracking={"wandb": "project"}).tracking)


class Client:
    """Of MLflow, as far as it is used; a URI of `down` is a server that does not answer."""

    made: ClassVar[list[Client]] = []

    def __init__(self, tracking_uri: str) -> None:
        self.down, self.experiments, self.metrics = tracking_uri == "down", {}, []
        self.params: dict[str, Any] = {}
        self.ended: str | None = None
        self.made.append(self)

    def get_experiment_by_name(self, name: str) -> Any:
        if self.down:
            raise ConnectionError("no route to the server")
        return self.experiments.get(name)

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = types.SimpleNamespace(experiment_id="1")
        return "1"

    def create_run(self, experiment: str, run_name: str) -> Any:
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_name))

    def log_param(self, run: str, name: str, value: Any) -> None:
        self.params[name] = value

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
    with tracking.tracked(study, TRIAL, tmp_path) as tracked:
        tracked.log(LINES[1])
    [client] = mlflow.made
    assert {(name, value, step) for name, value, _, step in client.metrics} >= {("train/loss", 4.25, 10)}
    assert client.params["almr"] == 0.5
    assert client.ended == "FINISHED"
    with pytest.raises(RuntimeError), tracking.tracked(study, TRIAL, tmp_path):
        raise RuntimeError
    assert mlflow.made[1].ended == "FAILED"


def test_a_server_that_is_down_is_a_warning(
    tmp_path: Path, mlflow: type[Client], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        tracking.tracked(make_study(tracking={"mlflow": "down"}), TRIAL, tmp_path) as tracked,
    ):
        tracked.log(LINES[1])
    [warning] = caplog.messages
    assert "tracking.mlflow: could not open it (ConnectionError: no route to the server)" in warning
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(10, 4.25)]


def test_a_tool_that_breaks_on_the_way_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        calls = 0

        def put(self, values: dict[str, float], step: int) -> None:
            self.calls += 1
            raise OSError("disk full")

        def close(self, ended_well: bool) -> None:
            raise AssertionError("it was left out")

    broken = Broken()
    tracked = tracking.Tracker({"wandb": broken})
    for _ in range(3):
        tracked.log(LINES[1])
    tracked.close()
    assert broken.calls == 1
    assert len(caplog.messages) == 1


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('mlflow')", reason="the extra `tracking`")
def test_real_mlflow_keeps_the_values(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/tracking.db"
    study = make_study(tracking={"tensorboard": False, "mlflow": uri})
    with tracking.tracked(study, TRIAL, tmp_path) as tracked:
        tracked.log(LINES[1])
    client = MlflowClient(tracking_uri=uri)
    [run] = client.search_runs([client.get_experiment_by_name(study.name).experiment_id])
    assert run.data.metrics["train/loss"] == 4.25
    assert run.info.status == "FINISHED"


@pytest.mark.skipif("not __import__('importlib.util').util.find_spec('wandb')", reason="the extra `tracking`")
def test_real_wandb_runs_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    study = make_study(tracking={"tensorboard": False, "wandb": "project"})
    with tracking.tracked(study, TRIAL, tmp_path) as tracked:
        assert list(tracked.sinks) == ["wandb"]
        tracked.log(LINES[1])
        assert list(tracked.sinks) == ["wandb"]
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
