"""The points of the contract of a program that trains trials, and whether the runs of a check show that they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sweep.external.command.answer import FAULTS, CommandAnswer, Losses
from sweep.external.command.request import CommandRequest
from sweep.study import LANGUAGES
from sweep.study.numbers import almr as almr_text
from sweep.study.numbers import lr as lr_text
from sweep.study.numbers import number, percent, tokens

WORDS = {True: "holds", False: "FAILS", None: "not seen"}
OWN_APART = 0.01  # nats per token between a program's own held-out losses and ours of its model
ROWS_APART = 0.005  # share of the first batch's loss
AGAIN_APART = 0.01  # nats per token between a run and the same one, stopped and started again
MOVES = 1e-6  # nats per token: less is no effect


class Point(NamedTuple):
    """One point. `holds`: None where the runs do not show it."""

    name: str
    holds: bool | None
    why: str

    @property
    def text(self) -> str:
        return f"{WORDS[self.holds]:8}  {self.name}: {self.why}"


class Tried(NamedTuple):
    """One run of the program: its answer, or its fault. `measured`: the held-out losses of the model that it left.
    `first_batch`: the loss of the base model on its first batch. `killed`: it was stopped in the middle before.
    """

    asked: CommandRequest
    seconds: float
    answer: CommandAnswer | None = None
    fault: str | None = None
    measured: Losses | None = None
    first_batch: float | None = None
    killed: bool = False

    @property
    def losses(self) -> Losses:
        """Of each language: its own, or ours of its model."""
        return (self.answer.loss if self.answer else None) or self.measured or {}

    @property
    def broken(self) -> str | None:
        """Why its losses cannot be compared; None where they can."""
        if self.answer is None:
            return self.fault
        return next((f for f in (one(self.answer, self.asked) for one in FAULTS.values()) if f), self.answer.divergence)


def of_first(run: Tried) -> Iterator[Point]:
    """Of the first run alone."""
    if run.answer is None:
        yield Point("answer", False, run.fault or "it left none")
        return
    found, asked = run.answer, run.asked
    yield Point("answer", True, f"{found.trainer}, after {run.seconds:,.0f} s")
    share = found.tokens.get("additional", 0) / max(1, sum(found.tokens.values()))
    good = {
        "steps": f"{found.steps:,} of {asked.steps:,}",
        "tokens": f"{tokens(sum(found.tokens.values()))}, {percent(share)} additional (ALMR {almr_text(asked.almr)})",
    }
    for name, why in good.items():
        fault = FAULTS[name](found, asked)
        yield Point(name, not fault, fault or why)
    yield _lr(found, asked)
    yield _rows(run)
    yield _own_losses(run)


def _lr(found: CommandAnswer, asked: CommandRequest) -> Point:
    if fault := FAULTS["LR"](found, asked):
        return Point("LR of each step", False, fault)
    known = [line.lr for line in found.log if line.lr is not None]
    if not known:
        return Point("LR of each step", None, "its log has none: give lr in log")
    return Point("LR of each step", True, f"as asked in {len(known):,} logged steps, to {lr_text(max(known))}")


def _rows(run: Tried) -> Point:
    """The loss before the first update is that of the base model on the rows of the first batch."""
    assert run.answer
    line = next((line for line in run.answer.log if line.step == 1 and line.loss is not None), None)
    if line is None or line.loss is None or run.first_batch is None:
        return Point("rows in order", None, "its log has no loss of step 1: give loss in log")
    same = abs(line.loss - run.first_batch) <= ROWS_APART * run.first_batch
    why = f"its first batch has loss {number(line.loss)}, by almr {number(run.first_batch)}"
    return Point("rows in order", same, why if same else f"{why}: train on the rows of the request, in order")


def _own_losses(run: Tried) -> Point:
    assert run.answer
    own, measured = run.answer.loss, run.measured
    if fault := FAULTS["losses"](run.answer, run.asked):
        return Point("held-out losses", False, fault)
    if not own:
        return Point("held-out losses", True, f"almr measures {_by_language(measured or {})} of its model")
    if not measured:
        return Point("held-out losses", None, f"{_by_language(own)}; give model once, and almr compares them")
    same = max(abs(own[name] - measured[name]) for name in LANGUAGES) <= OWN_APART
    return Point("held-out losses", same, f"{_by_language(own)}; almr measures {_by_language(measured)} of its model")


def of_all(run: Tried, other: Tried, lower: Tried, stopped: Tried) -> Iterator[Point]:
    """Of the first run beside one of another ALMR, one of a lower LR, and the same one stopped and started again."""
    yield _other_almr(run, other)
    yield _other_lr(run, lower)
    yield _again(run, stopped)


def _other_almr(run: Tried, other: Tried) -> Point:
    name = "follows almr"
    if why := _unusable(run, other):
        return Point(name, False, why)
    moved = _moved(run, other)
    follows = moved["original"] - moved["additional"] > MOVES
    why = (
        f"ALMR {almr_text(other.asked.almr)} instead of {almr_text(run.asked.almr)} changes {_by_language(moved, True)}"
    )
    return Point(name, follows, why if follows else f"{why}: the additional language should gain")


def _other_lr(run: Tried, lower: Tried) -> Point:
    name = "follows lr"
    if why := _unusable(run, lower):
        return Point(name, False, why)
    moved = _moved(run, lower)
    follows = max(map(abs, moved.values())) > MOVES
    why = f"LR {lr_text(lower.asked.lr)} instead of {lr_text(run.asked.lr)} changes {_by_language(moved, True)}"
    return Point(name, follows, why)


def _again(run: Tried, stopped: Tried) -> Point:
    name = "goes on after a kill"
    if why := _unusable(run, stopped):
        return Point(name, False, why)
    moved = _moved(run, stopped)
    same = max(map(abs, moved.values())) <= AGAIN_APART
    if not stopped.killed:
        return Point(name, None, "it ended before it could be stopped")
    return Point(name, same, f"killed, and started again, it differs by {_by_language(moved, True)}")


def _unusable(*runs: Tried) -> str | None:
    faults = (run.broken or (None if run.losses else "it left no losses and no model") for run in runs)
    return next(filter(None, faults), None)


def _moved(run: Tried, other: Tried) -> Losses:
    return {name: other.losses[name] - run.losses[name] for name in LANGUAGES}


def _by_language(losses: Losses, sign: bool = False) -> str:
    return ", ".join(f"{name} {number(losses[name], 4, sign)}" for name in LANGUAGES if name in losses)
