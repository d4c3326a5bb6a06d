"""A comparison in words: the lines of the terminal, and the page `comparison.md`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.fit_file.transfer import Cost
from analysis.fit_file.winner import Winner
from sweep.external.compare.result import LossDifference, PairedTrial, TrainerComparison
from sweep.study import numbers

Label = Callable[[str], str]  # of a language
DIGITS = 4


def page(found: TrainerComparison, label: Label) -> str:
    """Markdown. The terminal shows the same."""
    heading, *rest = lines(found, label)
    return "\n".join([f"# {heading}", "", *table(found, label), "", *(f"- {line}" for line in rest), ""])


def lines(found: TrainerComparison, label: Label) -> list[str]:
    """The verdict, then the numbers behind it."""
    return [
        verdict(found, label),
        *(_losses(one, label) for one in found.differences),
        *(_base(one, label) for one in found.differences if one.base is not None),
        *(_ended(trial, found.trainers) for trial in found.other_ends),
        *_winner(found),
        f"trainers: {found.versions[0]}; {found.versions[1]}",
        f"bounds: {found.noise}",
        f"runs: {found.runs[0]} and {found.runs[1]}",
    ]


def verdict(found: TrainerComparison, label: Label) -> str:
    names = f"{found.trainers[0]} and {found.trainers[1]}"
    count = f"{len(found.trials)} trials each"
    if found.agree:
        return f"AGREE: the losses of {names} agree within the bounds, {count}"
    holds = {True: ["yet the winner holds"], None: ["the winner may hold"], False: []}
    return f"DISAGREE: {names}, {count}: {'; '.join([*found.faults(label), *holds[_holds(found)]])}"


def _holds(found: TrainerComparison) -> bool | None:
    return found.winner.holds if found.winner else False


def table(found: TrainerComparison, label: Label) -> list[str]:
    """One row a trial: both losses of each language and their difference, and the seconds of both."""
    heads, names = ["ALMR", "LR"], found.trainers
    languages = [one.language for one in found.differences]
    heads += [f"{label(language)}, {part}" for language in languages for part in (*names, "difference")]
    heads += [f"seconds, {name}" for name in names]
    return _aligned([heads, *(_cells(trial, languages) for trial in found.trials)])


def _cells(trial: PairedTrial, languages: Sequence[str]) -> list[str]:
    cells = [numbers.almr(trial.almr), numbers.lr(trial.lr)]
    for language in languages:
        first, second = trial.losses[language]
        ended = {*trial.statuses} == {"complete"}
        apart = second - first if ended and first is not None and second is not None else None
        cells += [_loss(trial, 0, first), _loss(trial, 1, second), _nats(apart)]
    return [*cells, *(numbers.number(seconds, 1) for seconds in trial.seconds)]


def _loss(trial: PairedTrial, side: int, loss: float | None) -> str:
    return numbers.number(loss, DIGITS) if trial.statuses[side] == "complete" else trial.statuses[side]


def _aligned(rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns are as wide as their cells."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = [f"| {' | '.join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))} |" for row in rows]
    return [text[0], f"|{'|'.join('-' * (w + 1) + ':' for w in widths)}|", *text[1:]]


def _losses(one: LossDifference, label: Label) -> str:
    at = numbers.point(one.almr, one.lr)
    return (
        f"{label(one.language)}: {'within the bounds' if one.within else 'OVER A BOUND'}: mean difference "
        f"{_nats(one.mean)} nats (bound {_bound(one.mean_bound)}), largest {_nats(one.largest)} at {at} (bound "
        f"{_bound(one.largest_bound)})"
    )


def _base(one: LossDifference, label: Label) -> str:
    return (
        f"{label(one.language)}, base model: {'same' if one.same_base else 'OTHER'} loss: difference {_nats(one.base)} "
        f"nats (bound {_bound(one.base_bound)})"
    )


def _ended(trial: PairedTrial, names: tuple[str, str]) -> str:
    ends = [
        f"{status} with {name}{f' ({reason})' if reason else ''}"
        for name, status, reason in zip(names, trial.statuses, trial.reasons, strict=True)
    ]
    return f"{numbers.point(trial.almr, trial.lr)}: {', '.join(ends)}"


def _winner(found: TrainerComparison) -> list[str]:
    if found.winner is None:
        return [f"winners not compared: {found.no_winner}"]
    one, (first, second) = found.winner, found.trainers
    said = {True: "holds", None: "may hold", False: "DOES NOT HOLD"}[one.holds]
    return [
        *(_point(name, at, codes) for name, at, codes in zip(found.trainers, one.winners, one.refusals, strict=True)),
        f"the winner {said}: that of {first} costs {_cost(one.costs[0])} with {second}, that of {second} "
        f"{_cost(one.costs[1])} with {first}; tolerance {one.tolerance:g}",
    ]


def _point(name: str, at: Winner, refused: tuple[str, ...]) -> str:
    almr, lr = numbers.interval(at.almr_interval, "almr"), numbers.interval(at.lr_interval, "lr")
    doubt = f"; its fit is refused ({', '.join(refused)})" if refused else ""
    level = numbers.level(at.level)
    return f"winner with {name}: ALMR {numbers.almr(at.almr)} ({level} {almr}), LR {numbers.lr(at.lr)} ({lr}){doubt}"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "an unknown cost, as a guard forbids it"
    low, high = (numbers.number(end, DIGITS) for end in (cost.interval.low, cost.interval.high))
    return f"{numbers.number(cost.nats, DIGITS)} nats ({low} to {high})"


def _nats(value: float | None) -> str:
    """With its sign, unless it rounds to zero."""
    zero = value is not None and not round(value, DIGITS)
    return numbers.number(0.0 if zero else value, DIGITS, sign=not zero)


def _bound(value: float) -> str:
    return numbers.number(value, DIGITS)
