"""What `almr status` prints: text for a person, and the same as JSON for a script."""

from __future__ import annotations

from typing import Any

from sweep.store.run import Run
from sweep.study.numbers import clock
from sweep.study.trial import Status
from sweep.trials import progress as design


def status_json(run: Run) -> dict[str, Any]:
    """From the files alone. `begun`: trials that were started and have no record: running now, or interrupted."""
    study = run.study()
    progress = design.progress(study, run)
    records = progress.records
    done = {record.trial_id for record in records}
    begun = [t.id for t in progress.trials if t.id not in done and run.attempts(t)]
    measured = [(loss, r) for r in records if (loss := study.objective.of_record(r)) is not None]
    best = min(measured, key=lambda pair: pair[0], default=None)
    return {
        "run": run.address,
        "strategy": study.search.strategy,
        "trials": progress.total,
        **{status.value: sum(record.status is status for record in records) for status in Status},
        "begun": begun,
        "left": len(progress.left) if progress.ended else progress.to_run,
        "ended": progress.ended,
        "failures": {r.trial_id: r.reason for r in records if r.status is Status.FAILED},
        "best": best and {"trial_id": best[1].trial_id, "almr": best[1].almr, "lr": best[1].lr, "objective": best[0]},
        "gpu_hours": sum(r.gpu_hours or 0 for r in records),
        "trial_seconds": sum(r.seconds or 0 for r in records),
    }


def status(run: Run) -> str:
    now = status_json(run)
    lines = [
        f"{now['run']}: {now['trials']} trials: {now['complete']} complete, {now['diverged']} diverged, "
        f"{now['failed']} failed, {now['left']} left",
        *([f"the search ended: {now['ended']}"] if now["ended"] else []),
        *(f"begun, without a record (running or interrupted): {trial}" for trial in now["begun"]),
        *(f"failed: {trial}: {reason}" for trial, reason in now["failures"].items()),
    ]
    if now["best"]:
        best = now["best"]
        lines.append(f"best trial: ALMR {best['almr']:g}, LR {best['lr']:g}: {best['objective']:.4f} nats per token")
    return "\n".join([*lines, f"cost so far: {clock(now['trial_seconds'])} of trials"])
