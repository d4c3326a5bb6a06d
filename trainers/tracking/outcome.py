"""How a trial ended, as the tracking tools show it: one objective to rank by, and a status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sweep.study import Record, Status, Study, Trial
from sweep.study.errors import one_line, without_secrets

OBJECTIVE = "objective"
INTERRUPTED = "interrupted"  # beside the statuses of a record: the trial goes on in the next session
MEASURES = ("seconds", "gpu_hours", "tokens_per_second", "mfu")


@dataclass(frozen=True)
class Outcome:
    """`objective`: what the study minimises, in nats per token; None where the trial did not complete, lacks a loss, or
    exceeds a guard. `values`: losses in nats per token as `loss/original`, scores as `score/c3`, and what it took.
    """

    status: str
    reason: str | None = None
    objective: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    step: int = 0

    @classmethod
    def of(cls, study: Study, record: Record) -> Outcome:
        values: dict[str, float | None] = {f"loss/{name}": loss for name, loss in record.losses().items()}
        values |= {f"score/{name}": score.value for name, score in record.scores.items()}
        values |= {name: getattr(record, name) for name in MEASURES}
        known = {name: value for name, value in values.items() if value is not None}
        objective = study.objective.of_record(record)
        return cls(record.status.value, record.reason, objective, known, record.steps or 0)

    @classmethod
    def of_error(cls, error: BaseException) -> Outcome:
        status = Status.FAILED.value if isinstance(error, Exception) else INTERRUPTED
        return cls(status, without_secrets(one_line(error)))

    @property
    def measured(self) -> dict[str, float]:
        """All its numbers by name."""
        return ({} if self.objective is None else {OBJECTIVE: self.objective}) | self.values

    @property
    def tags(self) -> dict[str, str]:
        return {"status": self.status} | ({"reason": self.reason} if self.reason else {})

    @property
    def ended_well(self) -> bool:
        """Whether it is a result: a trial that diverged is one."""
        return self.status not in (Status.FAILED, INTERRUPTED)


def description(study: Study, trial: Trial) -> dict[str, Any]:
    """What distinguishes a trial from others in the tool."""
    return {
        "study": study.name,
        **trial.model_dump(),
        "base_model": study.base_model.pretrained or study.base_model.embedded,
        "tokens": study.training.tokens,
        "trainer": study.trainer.name,
        "fingerprint": study.fingerprint,
    }
