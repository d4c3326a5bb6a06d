"""Trials as Optuna has them: parameters with their distributions, state, value, attributes and losses by step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TRIAL_ID = "trial_id"  # the user attribute by which a trial is found again
CONSTRAINTS = "constraints"  # Optuna's own name: what is above 0 makes a trial infeasible
UNKNOWN_EXCESS = 1.0  # nats
MOST_STEPS = 100  # that an Optuna trial gets: its dashboard draws each of them
NOT_MEASURED = "a loss of the objective was not measured"


def of_record(study: Study, run: Run, record: Record) -> FrozenTrial:
    """A trial that has ended.

    One that diverged is PRUNED: a result, from which Optuna's samplers learn that the place is bad. One that failed for
    a fault of infrastructure is FAIL, which they ignore. A complete one over a guard keeps its value, as infeasible.
    """
    from optuna.trial import TrialState, create_trial

    value = objective(study, record)
    states = {Status.COMPLETE: TrialState.COMPLETE, Status.DIVERGED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}
    state = TrialState.FAIL if record.status is Status.COMPLETE and value is None else states[record.status]
    made = create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params=parameters(study, record.trial),
        distributions=distributions(study, record.trial),
        user_attrs=attributes(study, record),
        system_attrs=_constraints(study, record),
        intermediate_values=losses(run, record.trial),
    )
    written = run.record_written(record.trial)
    made.datetime_complete = datetime.fromtimestamp(written / 1e9) if written else datetime.now()
    made.datetime_start = made.datetime_complete - timedelta(seconds=record.seconds or 0)
    return made


def of_start(study: Study, trial: Trial) -> FrozenTrial:
    """A trial that runs."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING,
        params=parameters(study, trial),
        distributions=distributions(study, trial),
        user_attrs={TRIAL_ID: trial.id, "status": "running"},
    )


def objective(study: Study, record: Record) -> float | None:
    """What the study minimises, in nats per token, also where a guard is exceeded; None where a loss is missing."""
    if record.status is not Status.COMPLETE:
        return None
    loss = record.losses()
    parts = [(share, loss.get(name)) for name, share in study.objective.shares.items() if share]
    known = [share * part for share, part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def parameters(study: Study, trial: Trial) -> dict[str, Any]:
    """A single seed is no parameter: there is nothing to see along its axis."""
    return {"almr": trial.almr, "lr": trial.lr} | ({"seed": trial.seed} if len(study.grid.seeds) > 1 else {})


def distributions(study: Study, trial: Trial) -> dict[str, BaseDistribution]:
    """The range that the study may try, as far as to the trial, which the user may have named beyond it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    reach = study.search.reach(study.grid)
    ends = {n: (min(low, getattr(trial, n)), max(high, getattr(trial, n))) for n, (low, high) in reach.items()}
    found: dict[str, BaseDistribution] = {
        "almr": FloatDistribution(*ends["almr"]),
        "lr": FloatDistribution(*ends["lr"], log=True),
    }
    if len(study.grid.seeds) > 1:
        seeds = (*study.grid.seeds, trial.seed)
        found["seed"] = IntDistribution(min(seeds), max(seeds))
    return found


def attributes(study: Study, record: Record) -> dict[str, Any]:
    """What else is known of a trial, as far as it is."""
    found: dict[str, Any] = {TRIAL_ID: record.trial_id, "status": record.status.value, "reason": record.reason}
    if record.status is Status.COMPLETE and objective(study, record) is None:
        found["reason"] = record.reason or NOT_MEASURED
    found |= {"seed": record.seed} if len(study.grid.seeds) == 1 else {}
    found |= {f"loss_{name}": loss for name, loss in record.losses().items()}
    found |= {f"base_loss_{name}": loss for name, loss in record.losses("base_loss").items()}
    found |= {f"score_{name}": score.value for name, score in record.scores.items()}
    found |= {name: getattr(record, name) for name in ("attempt", "tokens", "steps", "seconds", "gpu_hours")}
    found |= {"trainer": record.trainer.text, "why": record.proposed.why if record.proposed else None}
    found["over_the_guard_of"] = ", ".join(name for name, _, _ in study.objective.broken(record)) or None
    return {name: value for name, value in found.items() if value is not None}


def _constraints(study: Study, record: Record) -> dict[str, Any]:
    """By how many nats the trial exceeds a guard of losses, for a study that has one."""
    limited = study.objective.forgetting_guard_percent is not None or study.objective.loss_guards
    if not limited or record.status is not Status.COMPLETE:
        return {}
    excess = [reached - most for _, reached, most in study.objective.broken(record)]
    # Whether it keeps a guard may not be known, as without the base model's loss. Then it is no candidate here either.
    unknown = UNKNOWN_EXCESS if study.objective.of_record(record) is None else 0.0
    return {CONSTRAINTS: [max(excess, default=unknown)]}


def losses(run: Run, trial: Trial) -> dict[int, float]:
    """The training loss by step, at most `MOST_STEPS` of them evenly spaced, with the last."""
    steps = list(_steps(run, trial))
    every = -(-len(steps) // MOST_STEPS) or 1
    return dict(steps[::-1][::every][::-1])


def _steps(run: Run, trial: Trial) -> Iterator[tuple[int, float]]:
    for line in run.steps(trial):
        loss = line.get("loss")
        if isinstance(loss, int | float):
            yield int(line["step"]), float(loss)
