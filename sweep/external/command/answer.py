"""What a program that trains trials answers: the JSON file that it writes last, and what makes an answer a failure.

A trial that diverged is a result: the answer says so, or its log has a loss that is not finite. All else that does not
hold is a fault, told in one line.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, ConfigDict, Field

from sweep.external.command.request import CommandRequest
from sweep.external.runs.trace import LoggedStep
from sweep.study import LANGUAGES
from sweep.study.errors import explain, one_line, printable, shown
from sweep.study.fields import LARGEST_COUNT, Section
from sweep.study.numbers import lr as lr_text

Losses = dict[str, Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]]
Words = Annotated[str, AfterValidator(printable)]
Whole = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
MOST_BYTES = 100 * 10**6  # of an answer: a million logged steps are less
SHARE_APART, LR_APART = 0.001, 1e-3  # of all tokens, and of the LR: beyond, the request was not followed
FIX = {"nan": "where the training diverged, write diverged: and a reason", "inf": "write a measured number"}


class AnswerError(Exception):
    """The answer is not one, or does not do what was asked; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def _some(words: str) -> str:
    if not words:
        raise ValueError("it is empty: write a name and a version")
    return words


class AnsweredStep(Section):
    """A line of the log. A loss or gradient that is not finite means that the training diverged."""

    model_config = ConfigDict(strict=True)

    step: Annotated[int, Field(gt=0)]
    """Number of the step, from 1."""
    loss: float | None = None
    """Loss of its batch before the update, in nats per token."""
    lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """LR of the update."""
    grad_norm: float | None = None
    """Norm of the gradient, before it is clipped."""

    @property
    def finite(self) -> bool:
        return all(value is None or math.isfinite(value) for value in (self.loss, self.grad_norm))


class CommandAnswer(Section):
    """What a training run came to. Losses are held-out ones, in nats per token, by language, and by source where the
    study names sources.
    """

    model_config = ConfigDict(strict=True)

    schema_version: Literal[1] = 1
    """Version of this file's fields: 1."""
    trainer: Annotated[Words, AfterValidator(_some), Field(max_length=200)]
    """Name and version of the program in one text, as records show them."""
    steps: Whole
    """Optimizer steps that were done."""
    tokens: dict[str, Whole]
    """Tokens that were trained on, of `original` and of `additional`."""
    model: str | None = None
    """Folder of the trained model, in Hugging Face's format, which almr measures; a relative path is in `folder`. Give
    this or `loss`.
    """
    loss: Losses = Field(default_factory=dict)
    """Held-out losses after training, which count where there is no `model`."""
    base_loss: Losses = Field(default_factory=dict)
    """Held-out losses before training. They have to be those that almr measures, to 0.05."""
    diverged: Words | None = None
    """Why the training diverged: a result, not a failure. Default: it did not."""
    log: tuple[AnsweredStep, ...] = ()
    """Steps that were logged, in order. Default: no training curve."""
    training_seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    """Time of the training, without start and end."""
    peak_memory_bytes: Whole | None = None
    """Highest memory of a GPU; without GPUs, of the host."""

    @property
    def divergence(self) -> str | None:
        """Why it diverged, as it says itself or by its log; None where it did not."""
        lost = next((line for line in self.log if not line.finite), None)
        by_log = f"the training loss or its gradient is not finite at step {lost.step}" if lost else None
        return (self.diverged and one_line(ValueError(self.diverged), 200)) or by_log

    @property
    def logged(self) -> tuple[LoggedStep, ...]:
        return tuple(LoggedStep(**line.model_dump()) for line in self.log)


def read(path: Path, asked: CommandRequest) -> CommandAnswer:
    """The answer to a request. Raises AnswerError where it is missing, no answer, or does not do what was asked."""
    found = load(path)
    if fault := fault_of(found, asked):
        raise AnswerError(f"{path.name}: {fault}")
    return found


def load(path: Path) -> CommandAnswer:
    """The answer in a file. Raises AnswerError where it is missing, or none."""
    try:
        content = json.loads(_content(path), object_pairs_hook=_object)
    except FileNotFoundError:
        raise AnswerError(f"it left no answer: write {path} last") from None
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"{path.name} is not JSON: {one_line(error, 100)}") from None
    except OSError as error:
        raise AnswerError(f"{path.name} cannot be read: {error.strerror}") from None
    found = parse(content, path.name)
    return found.model_copy(update={"model": str(path.parent / found.model)}) if found.model else found


def _content(path: Path) -> bytes:
    """Raises AnswerError for what is no file, such as a pipe without an end, and for one that would fill the memory."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise AnswerError(f"{path.name} is no file: write a JSON file there")
    if state.st_size > MOST_BYTES:
        size = f"{state.st_size / 1e6:,.0f} MB"
        raise AnswerError(f"{path.name} has {size}: at most {MOST_BYTES // 10**6} MB are read: log fewer steps")
    return path.read_bytes()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python's reader would take the last of two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in names if names.count(name) > 1))} is written twice")
    return found


def parse(content: Any, name: str) -> CommandAnswer:
    """The answer of a JSON file's content. Raises AnswerError that names the first wrong field."""
    if not isinstance(content, dict):
        raise AnswerError(f"{name}: is {shown(content)}: write an object with the fields of an answer")
    content = dict(content)
    if isinstance(content.get("log"), list):
        content["log"] = tuple(content["log"])
    if content.get("diverged") and not _finite(content.get("loss")):
        del content["loss"]  # as the losses of a training that diverged may be
    try:
        return CommandAnswer.model_validate(content)
    except pydantic.ValidationError as error:
        field = error.errors(include_url=False)[0]
        bad = str(field["input"]) if isinstance(field["input"], float) else ""
        more = f" ({FIX[bad.lstrip('-')]})" if bad.lstrip("-") in FIX else ""
        raise AnswerError(f"{name}: {explain(error, CommandAnswer)[0]}{more}") from None


def _finite(losses: Any) -> bool:
    values = losses.values() if isinstance(losses, dict) else ()
    return not any(isinstance(value, float) and not math.isfinite(value) for value in values)


def fault_of(answer: CommandAnswer, asked: CommandRequest) -> str | None:
    """What does not do what was asked, in one line; None where all does."""
    return next(filter(None, (fault(answer, asked) for fault in FAULTS.values())), None)


def _steps(answer: CommandAnswer, asked: CommandRequest) -> str | None:
    if answer.steps > asked.steps:
        return f"steps: {answer.steps:,} were done, and {asked.steps:,} asked: end after steps of the request"
    if answer.steps < asked.steps and not answer.divergence:
        return f"steps: {answer.steps:,} of {asked.steps:,} were done: train to the end, or say why in diverged"
    return None


def _tokens(answer: CommandAnswer, asked: CommandRequest) -> str | None:
    """A sequence, or a thousandth of all tokens, may be counted otherwise."""
    if fault := _names("tokens", answer.tokens, LANGUAGES):
        return fault
    total, done = sum(answer.tokens.values()), answer.steps * asked.step_tokens
    margin = max(asked.sequence_length, SHARE_APART * done)
    if abs(total - done) > margin:
        return (
            f"tokens: {total:,} in all, but {answer.steps:,} steps of batch_sequences x sequence_length are {done:,}: "
            f"count every token of the rows that it trained on"
        )
    if abs(answer.tokens["additional"] - _additional(asked, answer.steps)) > margin:
        return (
            f"tokens: {answer.tokens['additional'] / max(1, total):.4f} of them are additional, but almr is "
            f"{asked.almr:.4f}: it ignored the ratio: train on rows, in order"
        )
    return None


def _additional(asked: CommandRequest, steps: int) -> int:
    """Tokens of the additional language in the first steps: round(rows x ALMR) rows, as the mixture has them."""
    return round(steps * asked.batch_sequences * asked.almr) * asked.sequence_length


def _losses(answer: CommandAnswer, asked: CommandRequest) -> str | None:
    names = tuple(dict.fromkeys((*LANGUAGES, *asked.source_names)))
    for field in ("loss", "base_loss"):
        given = getattr(answer, field)
        if given and (fault := _names(field, given, names)):
            return fault
    if answer.model and Path(answer.model).resolve() == Path(asked.model).resolve():
        return "model: this is the model that it was given: save the trained one in a folder of its own, in folder"
    if answer.model and not (Path(answer.model) / "config.json").is_file():
        return f"model: {shown(answer.model)} has no config.json: save the model there in Hugging Face's format"
    if not (answer.loss or answer.model or answer.divergence):
        return "neither model nor loss: give one of them"
    return None


def _names(field: str, given: dict[str, Any], wanted: tuple[str, ...]) -> str | None:
    if missing := [name for name in wanted if name not in given]:
        return f"{field}: {', '.join(missing)} is missing: give {', '.join(wanted)}"
    if other := [name for name in given if name not in wanted]:
        return f"{field}: {shown(other[0])} is no language or source: give {', '.join(wanted)}"
    return None


def _log(answer: CommandAnswer, asked: CommandRequest) -> str | None:
    numbers = [line.step for line in answer.log]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return "log: its steps are not in order: give each once, from 1"
    if numbers and numbers[-1] > answer.steps:
        return f"log: has step {numbers[-1]:,} of a training of {answer.steps:,} steps"
    for line in answer.log:
        wanted = asked.lr_by_step[line.step - 1]
        if line.lr is not None and abs(line.lr - wanted) > LR_APART * max(wanted, asked.lr * LR_APART):
            return (
                f"log: step {line.step:,} had LR {lr_text(line.lr)}, but {lr_text(wanted)} was asked: it did not "
                f"follow lr_by_step"
            )
    return None


Fault = Callable[[CommandAnswer, CommandRequest], str | None]
FAULTS: dict[str, Fault] = {"steps": _steps, "tokens": _tokens, "losses": _losses, "LR": _log}
