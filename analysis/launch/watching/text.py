"""A look at a launch in words: the terminal and the page say the same."""

from __future__ import annotations

from analysis.launch.watching.progress import LaunchProgress, Spike, StepSeconds
from analysis.launch.watching.result import WatchResult
from analysis.launch.watching.verdict import LossCheck
from sweep.study import LANGUAGES, numbers

MOST_SPIKES, MOST_CHECKS = 3, 4
HEAD = ("step", "language", "held-out loss", "predicted", "")


def lines(found: WatchResult) -> list[str]:
    """All of it, a line each."""
    return [
        found.verdict.text,
        f"-> {found.advice.text}",
        *([f"   {found.advice.command}"] if found.advice.command else []),
        "",
        *facts(found),
        *_table(found),
        *[f"note: {note}" for note in found.notes],
    ]


def facts(found: WatchResult) -> list[str]:
    """Progress, tokens, speed, gradient norm, spikes and restarts."""
    return [f"{name}: {text}" for name, text in named_facts(found)]


def named_facts(found: WatchResult) -> list[tuple[str, str]]:
    now, labels = found.progress, found.launch.labels
    listed = [("step", f"{now.step:,} of {now.steps:,} ({numbers.percent(now.step / now.steps)})")]
    about = "" if found.launch.study.training.stage == "cpt" else "about "  # rows of other stages differ in length
    listed.append(("tokens", f"{about}{_tokens(now, labels, found.launch.almr)}"))
    if now.speed:
        listed.append(("speed", _speed(now, now.speed)))
    if now.left:
        listed.append(("time left", _left(now.left)))
    if now.loss is not None:
        unit = found.launch.study.loss_unit
        listed.append(("training loss", f"{numbers.number(now.loss)} {unit}{_spikes(now.loss_spikes)}"))
    if now.grad_norm is not None:
        usual = f" (usually {numbers.number(now.usual_norm)})" if now.usual_norm is not None else ""
        listed.append(("gradient norm", f"{numbers.number(now.grad_norm)}{usual}{_spikes(now.norm_spikes)}"))
    if now.restarts:
        last = now.restarts[-1]
        listed.append(("restarts", f"{len(now.restarts)}, the last from step {last[0]:,} back to {last[1]:,}"))
    return listed


def _tokens(now: LaunchProgress, labels: dict[str, str], almr: float) -> str:
    each = ", ".join(
        f"{labels[name]} {numbers.tokens(now.tokens[name])} of {numbers.tokens(now.planned[name])}"
        for name in LANGUAGES
    )
    so_far = f"ALMR so far {now.almr:.4f}, planned {almr:.4f}" if now.almr is not None else f"ALMR planned {almr:.4f}"
    return f"{each}; {so_far}"


def _speed(now: LaunchProgress, speed: StepSeconds) -> str:
    rate = numbers.tokens(now.step_tokens / speed.seconds)
    return f"{rate} tokens per second, {numbers.quantity(speed.seconds)} s a step"


def _left(left: StepSeconds) -> str:
    return f"about {numbers.clock(left.seconds)} ({numbers.clock(left.fast)} to {numbers.clock(left.slow)})"


def _spikes(spikes: tuple[Spike, ...]) -> str:
    if not spikes:
        return ""
    shown = ", ".join(
        f"step {one.step:,} ({numbers.number(one.value)}, before it {numbers.number(one.usual)})"
        for one in spikes[-MOST_SPIKES:]
    )
    return f"; {len(spikes)} {'spike' if len(spikes) == 1 else 'spikes'}: {shown}"


def _table(found: WatchResult) -> list[str]:
    """The newest measurements as aligned text."""
    rows = [list(HEAD), *([*row] for row in rows_of(found.checks[-2 * MOST_CHECKS :]))]
    if len(rows) == 1:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return ["", *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows), ""]


def rows_of(checks: tuple[LossCheck, ...]) -> list[tuple[str, str, str, str, str]]:
    return [
        (f"{one.step:,}", one.label, numbers.number(one.loss), _band(one), "" if one.band is None else _state(one))
        for one in checks
    ]


def _band(check: LossCheck) -> str:
    return numbers.interval(check.band) if check.band else "-"


def _state(check: LossCheck) -> str:
    if not check.excess:
        return "inside"
    return f"{numbers.number(abs(check.excess))} {'above' if check.excess > 0 else 'below'}"
