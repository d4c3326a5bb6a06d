"""Weights & Biases: a run for each trial, and one for the study's result. WANDB_MODE=offline writes them to the run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.study import Study, Trial
from trainers.tracking import sessions
from trainers.tracking.outcome import OBJECTIVE, Outcome, description

TOOL = "wandb"
SECONDS = 30  # for a server to answer
UPLOAD_SECONDS = 120  # at the end of a trial, whose record is not written before
STEP = "trial_step"


class WandbRun:
    """A trial's run in the project, in a group of the study's name. Its summary has what a table or sweep view ranks
    by, its tags the status.
    """

    def __init__(self, study: Study, trial: Trial, folder: Path) -> None:
        self.run = _started(study, folder, trial.id, "trial", description(study, trial))
        # W&B's own step must not decrease, as a branch's does.
        self.run.define_metric(STEP)
        self.run.define_metric("*", step_metric=STEP)
        self.run.define_metric(OBJECTIVE, summary="min")

    def put(self, values: dict[str, float], step: int) -> None:
        self.run.log(values | {STEP: step})

    def close(self, outcome: Outcome) -> None:
        self.run.tags = (outcome.status,)  # not that of an earlier attempt
        self.run.summary.update({"reason": ""} | outcome.measured | outcome.tags)
        self.run.finish(exit_code=0 if outcome.ended_well else 1)


def conclude(study: Study, folder: Path, facts: Mapping[str, Any], files: Sequence[Path], end: str) -> None:
    """The study's own run: its result as summary, fit and page as an artifact. `end`: its tag."""
    import wandb

    run = _started(study, folder, study.name, "study", {"study": study.name, "fingerprint": study.fingerprint})
    run.tags = (end,)
    run.summary.update({"reason": "", **facts})  # None too: an earlier session's refusals would stay
    if files:
        artifact = wandb.Artifact(f"{study.name}-fit", type="fit")
        for path in files:
            artifact.add_file(str(path), policy="immutable")
        run.log_artifact(artifact)
    run.finish()


def _started(study: Study, folder: Path, name: str, kind: str, config: dict[str, Any]) -> Any:
    """A new run, or the one that the folder's trial or study has had."""
    import wandb

    known = sessions.session(folder, TOOL)
    # Older versions wait until all is uploaded.
    bounded = {"finish_timeout": UPLOAD_SECONDS} if "finish_timeout" in wandb.Settings.model_fields else {}
    return wandb.init(
        project=study.tracking.wandb or "",
        id=known or sessions.keep(folder, TOOL, uuid.uuid4().hex[:12]),
        resume="allow",
        group=study.name,
        job_type=kind,
        name=name,
        config=config,
        dir=str(folder),
        settings=wandb.Settings(silent=True, init_timeout=SECONDS, **bounded),
    )
