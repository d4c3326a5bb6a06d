"""What `almr status` prints: text for a person, and the same as JSON for a script."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from typing import Any

from analysis.fit_file.outdated import outdated
from analysis.table import lost
from analysis.table.lost import TrialEnd
from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.study.numbers import clock, number, point, quantity
from sweep.study.record import OWN_TRAINER, trainer_text
from sweep.trials import budget
from sweep.trials.progress import RunProgress
from sweep.verbs import rerun
from sweep.verbs.display import launch_loss


def status_json(run: Run, progress: RunProgress | None = None) -> dict[str, Any]:
    """The state of a run, read from its files.

    `begun`: the started trials without a record. They are `running` where a live driver started them, else
    `interrupted`.
    """
    study = run.study()
    progress = progress or RunProgress.of(study, run)
    records = progress.records
    done = {record.trial_id for record in records}
    begun = [trial for trial in progress.trials if trial.id not in done and run.attempts(trial)]
    driver, again = run.driver(), rerun.of(run)
    running = [trial for trial in begun if driver and _started(run, trial) >= driver.since]
    measured = [(loss, r) for r in records if (loss := study.objective.of_record(r)) is not None]
    best = min(measured, key=lambda pair: pair[0], default=None)
    expected = [
        r.proposed.launch_loss for r in run.proposals(study) if r.proposed and r.proposed.launch_loss is not None
    ]
    return {
        "run": run.address,
        "strategy": study.search.strategy,
        "trials": progress.total,
        "also": [trial.id for trial in progress.also],
        **{status.value: sum(record.status is status for record in records) for status in Status},
        "begun": [trial.id for trial in begun],
        "running": [_step(run, study, trial) for trial in running],
        "interrupted": [_step(run, study, trial) for trial in begun if trial not in running],
        "left": progress.remaining,
        "budget": progress.budget and progress.budget.as_json(),
        "ended": progress.ended,
        "driver": driver and str(driver),
        "resume": f"{again.first}{again.command}",
        "failures": {r.trial_id: r.reason for r in records if r.status is Status.FAILED},
        "best": best and {"trial_id": best[1].trial_id, "almr": best[1].almr, "lr": best[1].lr, "objective": best[0]},
        "launch_loss": expected[-1] if expected else None,
        "trainers": _trainers(records),
        "gpu_hours": sum(r.gpu_hours or 0 for r in records),
        "trial_seconds": sum(r.seconds or 0 for r in records),
    }


def _started(run: Run, trial: Trial) -> datetime:
    """When the last attempt at a trial began."""
    return datetime.fromtimestamp(run.files.trial(trial.id).request.stat().st_mtime).astimezone()


def _step(run: Run, study: Study, trial: Trial) -> dict[str, Any]:
    """How far a trial is. `seconds_left` is for the steps of its main run."""
    last, steps = run.last_step(trial), study.training.steps
    step, loss, seconds = int(last.get("step", 0)), last.get("loss"), last.get("seconds")
    return {
        "trial_id": trial.id,
        "almr": trial.almr,
        "lr": trial.lr,
        "step": step,
        "steps": steps,
        "loss": loss if isinstance(loss, float) and math.isfinite(loss) else None,
        "seconds_left": seconds / step * (steps - step) if step and seconds is not None else None,
    }


def status(run: Run) -> str:
    progress = RunProgress.of(run.study(), run)
    now = status_json(run, progress)
    lines = [
        f"{now['run']} {_state(now)}: {now['complete']} of {now['trials']} trials complete, "
        f"{now['diverged']} diverged, {now['failed']} failed, {now['left']} left",
        *([f"of these, named with --also: {len(now['also'])}"] if now["also"] else []),
        *([f"the search ended: {now['ended']}"] if now["ended"] else []),
        *(f"budget: {part}" for part in budget.spent(progress.budget)),
        *([most] if (most := _lost(progress.records)) else []),
        *([_best(now)] if now["best"] else []),
        *(f"trained by {_named(one)}: {one['trials']} trials" for one in _foreign(now["trainers"])),
        *([f"driver: {now['driver']}"] if now["driver"] else []),
        *(f"running: {_point(trial)}: {_how_far(trial)}" for trial in now["running"]),
        *(f"interrupted: {_point(trial)}: {_how_far(trial)}" for trial in now["interrupted"]),
        *(f"failed: {trial}: {reason}" for trial, reason in now["failures"].items()),
        f"time: {clock(now['trial_seconds'])} of trials in all{_gpu_hours(now['gpu_hours'])}",
    ]
    if now["left"] and not now["driver"]:
        lines.append(f"to resume: {now['resume']}")
    lines += outdated(run.folder, run.address)
    return "\n".join(lines)


def _lost(records: list[Record]) -> str | None:
    """What became of most trials, where they gave no loss."""
    return lost.summary([TrialEnd(r.status.value, r.reason or "no reason recorded", r.lr) for r in records])


def _trainers(records: list[Record]) -> list[dict[str, Any]]:
    """What trained the trials that have a result, and how many."""
    found = Counter((r.trainer.name, r.trainer.version) for r in records if r.status is not Status.FAILED)
    return [{"name": name, "version": version, "trials": n} for (name, version), n in found.most_common()]


def _foreign(trainers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them, where one is not our own trainer."""
    return trainers if any(one["name"] != OWN_TRAINER for one in trainers) else []


def _named(trainer: dict[str, Any]) -> str:
    return trainer_text(trainer["name"], trainer["version"])


def _best(now: dict[str, Any]) -> str:
    loss, after = now["best"]["objective"], launch_loss(now["launch_loss"])
    return f"best trial: {_point(now['best'])}: {loss:.4f} nats per token{after}"


def _state(now: dict[str, Any]) -> str:
    if now["driver"]:
        return "is running"
    return "is stopped" if now["left"] else "is finished"


def _point(found: dict[str, Any]) -> str:
    return point(found["almr"], found["lr"])


def _how_far(trial: dict[str, Any]) -> str:
    parts = [f"step {trial['step']}/{trial['steps']}"]
    if trial["loss"] is not None:
        parts.append(f"loss {number(trial['loss'], 2)}")
    if trial["seconds_left"] is not None:
        parts.append(f"{clock(trial['seconds_left'])} left")
    return ", ".join(parts)


def _gpu_hours(hours: float) -> str:
    return f", {quantity(hours)} GPU-hours" if hours else ""
