"""What one training run logged, whichever trainer wrote it: the answer of a reader in `readers/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from sweep.study import Record, Schema
from sweep.study.files.layout import TrialFiles
from sweep.study.files.reader import json_lines

Losses = dict[str, float]  # nats per token, by language, and by source where the study names sources


class LoggedStep(Schema):
    """Step `step` (from 1): the loss of its batch before its update, in nats per token, the LR of the update, and the
    norm of the gradient before it is clipped. None where it was not logged.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")  # JSON has no NaN, and null means not logged

    step: int
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None


class Trace(Schema):
    """The log of a run. `before` and `after` are the held-out losses of the base model and of the model in the end,
    `tokens` those that were read of each language. `model`: the folder of a Hugging Face model that it left;
    `resumed_from`: the step of the checkpoint that it resumed from; `rows`: a file with the token ids that it trained
    on, in order, of a trainer that shuffles by itself; `streams`: the files that it draws each source's tokens from.
    `batches`: how many sequences of each source (in the end: of each language) are in the global batch of each step.
    `foreign`: what of the text that it read is not the trial's: rows, or of `streams` tokens; None where that is not
    known. `versions`: of the trainer and its torch; `device`: CPU or GPU. `training_seconds`: of its
    optimizer steps, without evaluations; `peak_memory_bytes`: of one GPU. `diverged`: why the trainer itself says so.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    steps: tuple[LoggedStep, ...]
    before: Losses = Field(default_factory=dict)
    after: Losses = Field(default_factory=dict)
    tokens: dict[str, int] = Field(default_factory=dict)
    model: str | None = None
    resumed_from: int | None = None
    rows: str | None = None
    streams: dict[str, str] = Field(default_factory=dict)
    batches: tuple[dict[str, int], ...] = ()
    foreign: int | None = None
    versions: str = ""
    device: str = ""
    training_seconds: float | None = None
    peak_memory_bytes: int | None = None
    diverged: str | None = None

    @property
    def by_step(self) -> dict[int, LoggedStep]:
        return {one.step: one for one in self.steps}


class TextRead(Schema):
    """What was compared of the text that a trainer reads with the trial's: see `batches` and `foreign` of `Trace`."""

    batches: tuple[dict[str, int], ...] = ()
    foreign: int


def of_trial(folder: Path, record: Record) -> Trace:
    """The log of a finished trial of our own trainer, from its folder."""
    steps, held_out = [], {}
    for line in json_lines(TrialFiles(folder).metrics):
        if "horizon" in line:
            continue
        if "held_out" in line:
            held_out[line["step"]] = line["held_out"]
        elif "loss" in line:
            steps.append(LoggedStep(**{name: line.get(name) for name in LoggedStep.model_fields}))
    return Trace(
        steps=tuple(steps),
        before=_known(held_out.get(0, {}) or record.losses("base_loss")),
        after=_known(record.losses()),
        tokens=_tokens(record),
        resumed_from=next(iter(record.provenance.get("execution", {}).get("gone_on_from_steps", [])[-1:]), None),
        versions=f"torch {record.provenance.get('torch', 'not known')}",
        device=record.provenance.get("device", ""),
    )


def _known(losses: dict[str, Any]) -> Losses:
    return {name: value for name, value in losses.items() if value is not None}


def _tokens(record: Record) -> dict[str, int]:
    if record.tokens is None or record.almr_achieved is None:
        return {}
    additional = round(record.tokens * record.almr_achieved)
    return {"original": record.tokens - additional, "additional": additional}
