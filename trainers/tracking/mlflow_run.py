"""MLflow: a run for each trial, nested under one of the study, which gets the fit and the page as artifacts."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweep.study import Study, Trial
from sweep.study.sections.resources import SQLITE
from trainers.tracking import sessions
from trainers.tracking.outcome import Outcome, description

TOOL = "mlflow"
SECONDS = 30  # for a server to answer
PARENT = "mlflow.parentRunId"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # its page opens with runs, not with traces of agents
LONGEST = 5000  # letters of a tag's value
ENDED = {"failed": "FAILED", "interrupted": "KILLED"}  # how the run of a study ended; else FINISHED


class MLflowRun:
    """A trial's run in the experiment of the study's name."""

    def __init__(self, study: Study, trial: Trial, folder: Path) -> None:
        self.client = _client(study)
        parent = sessions.of_run(folder, TOOL)
        tags = {"kind": "trial"} | ({PARENT: parent} if parent else {})
        self.run = _started(self.client, study, folder, trial.id, tags)
        for name, value in description(study, trial).items():
            self.client.log_param(self.run, name, value)

    def put(self, values: dict[str, float], step: int) -> None:
        _log(self.client, self.run, values, step)

    def close(self, outcome: Outcome) -> None:
        _log(self.client, self.run, outcome.measured, outcome.step)
        _end(self.client, self.run, outcome.tags, "FINISHED" if outcome.ended_well else "FAILED")


def open_study(study: Study, folder: Path) -> None:
    """Make the run of the study before its trials, which are nested under it."""
    client = _client(study)
    run = _started(client, study, folder, study.name, {"kind": "study"})
    client.log_param(run, "study", study.name)
    client.log_param(run, "fingerprint", study.fingerprint)


def conclude(study: Study, folder: Path, facts: Mapping[str, Any], files: Sequence[Path], end: str) -> None:
    """The study's own run: numbers of its result as metrics, words as tags, fit and page as artifacts."""
    client = _client(study)
    run = _started(client, study, folder, study.name, {"kind": "study"})
    numbers = {n: float(v) for n, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    _log(client, run, numbers, 0)
    for path in files:
        client.log_artifact(run, str(path))
    words = {name: str(value) for name, value in facts.items() if value is not None and name not in numbers}
    for name in facts.keys() - numbers.keys() - words.keys():
        with suppress(Exception):  # there is none, unless an earlier session had it
            client.delete_tag(run, name)
    _end(client, run, words | {"status": end}, ENDED.get(end, "FINISHED"))


def _client(study: Study) -> Any:
    # MLflow's own seven retries with growing pauses would delay the trial by minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(SECONDS))
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table of a new database
    return MlflowClient(tracking_uri=study.tracking.mlflow or "")


def _started(client: Any, study: Study, folder: Path, name: str, tags: dict[str, str]) -> str:
    """The id of the run that the folder's trial or study has had, or of a new one."""
    if known := sessions.session(folder, TOOL):
        with suppress(Exception):  # somebody deleted it
            client.update_run(known, status="RUNNING")
            client.set_tag(known, "status", "running")
            with suppress(Exception):  # there is none where it did not fail
                client.delete_tag(known, "reason")
            return known
    run = client.create_run(_experiment(client, study), run_name=name, tags=tags | {"status": "running"})
    return sessions.keep(folder, TOOL, run.info.run_id)


def _experiment(client: Any, study: Study) -> str:
    """The id of the experiment, which several trials may try to create at once."""
    if found := client.get_experiment_by_name(study.name):
        return str(found.experiment_id)
    try:
        place = _artifacts(study.tracking.mlflow or "")
        return str(client.create_experiment(study.name, artifact_location=place, tags=KIND))
    except Exception:
        if found := client.get_experiment_by_name(study.name):
            return str(found.experiment_id)
        raise


def _artifacts(uri: str) -> str | None:
    """Of an SQLite file, a folder beside it: MLflow itself would take one in the working directory."""
    return (
        (Path(uri.removeprefix(SQLITE)).absolute().parent / "mlartifacts").as_uri() if uri.startswith(SQLITE) else None
    )


def _log(client: Any, run: str, values: Mapping[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def _end(client: Any, run: str, tags: Mapping[str, str], status: str) -> None:
    for name, value in tags.items():
        client.set_tag(run, name, value[:LONGEST])
    client.set_terminated(run, status)
