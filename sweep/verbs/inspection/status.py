"""What `almr status` prints: text for a person, and the same as JSON for a script."""

from __future__ import annotations

from collections import Counter
from typing import Any

from analysis.fit_file.outdated import outdated
from analysis.table import lost
from analysis.table.lost import TrialEnd
from sweep.store.run import Run
from sweep.study import Record, Status
from sweep.study.numbers import count, point
from sweep.study.record import OWN_TRAINER, trainer_text
from sweep.verbs.live import text
from sweep.verbs.live.files import RunReader
from sweep.verbs.live.now import RunningTrial, RunNow
from sweep.verbs.results import rerun


def status_json(run: Run) -> dict[str, Any]:
    """The state of a run, read from its files.

    `begun`: the started trials without a record. They are `running` where a live driver started them, else
    `interrupted`.
    """
    reader = RunReader(run)
    return _as_json(reader, reader.look())


def _as_json(reader: RunReader, now: RunNow) -> dict[str, Any]:
    run, study, progress, best = reader.run, reader.study, reader.progress, now.tally.best
    records, again = progress.records, rerun.of(run)
    return {
        "run": run.address,
        "strategy": study.search.strategy,
        "trials": progress.total,
        "also": [trial.id for trial in progress.also],
        **{status.value: now.tally.count(status) for status in Status},
        "begun": [trial.id for trial in reader.begun],
        "left": progress.remaining,
        "budget": progress.budget and progress.budget.as_json(),
        "ended": progress.ended,
        "driver": now.driver,
        "resume": f"{again.first}{again.command}",
        "failures": {r.trial_id: r.reason for r in records if r.status is Status.FAILED},
        "best": best and {"trial_id": best[1].id, "almr": best[1].almr, "lr": best[1].lr, "objective": best[0]},
        "launch_loss": now.launch_loss,
        "trainers": _trainers(records),
        **now.as_json(),
    }


def status(run: Run) -> str:
    reader = RunReader(run)
    now = reader.look()
    progress, found = reader.progress, _as_json(reader, now)
    lines = [
        f"{run.address} {_state(now)}: {found['complete']} of {count(found['trials'], 'trial')} complete, "
        f"{found['diverged']} diverged, {found['failed']} failed, {found['left']} left",
        *([f"of these, named with --also: {len(found['also'])}"] if found["also"] else []),
        *([f"the search ended: {found['ended']}"] if found["ended"] else []),
        *([most] if (most := _lost(progress.records)) else []),
        *text.facts(now),
        *(f"trained by {_named(one)}: {count(one['trials'], 'trial')}" for one in _foreign(found["trainers"])),
        *([f"driver: {now.driver}"] if now.driver else []),
        *(f"running: {_point(one)}: {text.how_far(one)}" for one in now.running),
        *(f"interrupted: {_point(one)}: {text.how_far_it_came(one)}" for one in now.interrupted),
        *(f"failed: {trial}: {reason}" for trial, reason in found["failures"].items()),
    ]
    if now.left and not now.driver:
        lines.append(f"to resume: {found['resume']}")
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


def _state(now: RunNow) -> str:
    return {"running": "is running", "interrupted": "is interrupted", "finished": "is finished"}[now.state]


def _point(one: RunningTrial) -> str:
    return point(one.trial.almr, one.trial.lr)
