"""Whether the trials have taken more than the study allows: GPU-hours, money, or the budget of its search."""

from __future__ import annotations

import time

from sweep.store.run import Run
from sweep.study import InputError, Record, Study, Trial
from sweep.study.numbers import quantity
from sweep.trials.budget import Budget, amount
from sweep.trials.progress import RunProgress


def was_over(run: Run) -> bool:
    """Whether a run was over its budget by the study of its last session, which told of it."""
    try:
        study = run.study()
    except (OSError, InputError):  # the first session has yet to write it
        return False
    told = study.notify is not None and "over_budget" in study.notify.events
    return told and Spending(study, run).over() is not None


class Spending:
    """Counts the records of all sessions, and the trials that run."""

    def __init__(self, study: Study, run: Run) -> None:
        self.study, self.run = study, run
        self.records = {record.trial_id: record for record in RunProgress.of(study, run).records}
        self.starts: dict[str, float] = {}

    def started(self, trial: Trial) -> None:
        self.starts.setdefault(trial.id, time.monotonic())

    def ended(self, record: Record) -> None:
        self.starts.pop(record.trial_id, None)
        self.records[record.trial_id] = record

    @property
    def gpu_hours(self) -> float:
        now, gpus = time.monotonic(), self.study.trial_resources.gpus
        running = sum(now - start for start in self.starts.values()) * gpus / 3600
        return running + sum(record.gpu_hours or 0.0 for record in self.records.values())

    def over(self) -> str | None:
        """What to say where a limit is exceeded; None where none is."""
        notify, search = self.study.notify, self.study.search
        assert notify
        hours, price = self.gpu_hours, self.study.price_per_gpu_hour
        limit = notify.gpu_hours or search.gpu_hours
        if limit and hours > limit:
            return f"is over its budget: {quantity(hours)} of {quantity(limit)} GPU-hours"
        if notify.cost and price and hours * price > notify.cost:
            return (
                f"is over its budget: {quantity(hours * price)} of {quantity(notify.cost)} spent, {quantity(hours)} "
                f"GPU-hours at {quantity(price)}"
            )
        spent = Budget.of(self.study, self.records.values(), 0) if search.unit == "tokens" else None
        if spent and spent.spent > spent.limit:
            return f"is over its budget: {amount(spent.spent, 'tokens', False)} of {amount(spent.limit, 'tokens')}"
        return None
