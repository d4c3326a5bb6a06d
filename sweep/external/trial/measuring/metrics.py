"""`metrics.jsonl` and the tracking tools of a trial by another trainer, from what it logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sweep.external.runs.trace import Losses, Trace
from sweep.study import Record
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from sweep.study.numbers import finite, json_text
from trainers.loop.trial_record import TrialSetup
from trainers.tracking.tracker import tracked


def write(setup: TrialSetup, trace: Trace, base: Losses, after: Losses, record: Record) -> None:
    """Write the log of the run to the budget as our own trainer writes it, with the held-out losses of both ends."""
    lines = [finite(line) for line in _lines(setup, trace, base, after)]
    text = "".join(json_text(line) + "\n" for line in lines)
    write_atomically(TrialFiles(setup.folder).metrics, text)
    with tracked(setup.study, setup.trial, setup.folder, 0) as tracker:
        for line in lines:
            tracker.log(line)
        tracker.ended(record)


def _lines(setup: TrialSetup, trace: Trace, base: Losses, after: Losses) -> Iterator[dict[str, Any]]:
    training, last = setup.study.training, max(trace.by_step, default=setup.study.training.steps)
    each = training.global_batch_tokens
    yield {"step": 0, "tokens": 0, "held_out": base}
    for step, logged in sorted(trace.by_step.items()):
        if step % training.log_every == 0 or step in (1, last):
            values = {name: value for name, value in logged.model_dump().items() if value is not None}
            yield values | {"tokens": step * each}
    if after:
        yield {"step": last, "tokens": last * each, "held_out": after}
