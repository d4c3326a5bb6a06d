"""Two compared runs in words: the terminal and the page say the same."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.compare.result import (
    NATS,
    AxisShift,
    OptimumShift,
    RulePrediction,
    RunComparison,
    RunPair,
    RunSummary,
    SharedLoss,
    SizeStep,
    WinnerElsewhere,
)
from analysis.compare.shift import LEAST_P
from analysis.fit_file.winner import Interval
from sweep.study import numbers

DIGITS = 4  # of losses
CARRIES, COSTS, MAY, UNKNOWN = "CARRIES OVER", "DOES NOT CARRY OVER", "MAY CARRY OVER", "NOT KNOWN"


def word(pair: RunPair) -> str:
    """Whether each run's winner suits the other: its cost there is within the tolerance."""
    one, other = pair.elsewhere
    if False in (one.carries, other.carries):
        return COSTS
    if one.cost is None or other.cost is None:
        return UNKNOWN
    return CARRIES if one.carries and other.carries else MAY


def costs(found: RunComparison, pair: RunPair) -> str:
    """What each winner costs on the other's surface."""
    return f"{'; '.join(_elsewhere(found, one) for one in pair.elsewhere)}; tolerance {found.tolerance:g}"


def _elsewhere(found: RunComparison, one: WinnerElsewhere) -> str:
    return f"{found.run(one.winner_of).name}'s winner on {found.run(one.on).name}: {cost(one)}"


def cost(one: WinnerElsewhere) -> str:
    if one.cost is None:
        return f"cost not known: {one.why}"
    return f"+{numbers.number(one.cost.nats, DIGITS)} nats ({numbers.interval(one.cost.interval, digits=DIGITS)})"


def p_text(p: float | None) -> str:
    if p is None:
        return "p not known"
    return f"p {'at most' if p <= LEAST_P else '='} {numbers.number(p)}"


def optima(shift: OptimumShift) -> str:
    if shift.p_corrected is None:
        return f"optima not compared: {shift.why}"
    said = "the optima differ" if shift.differ else "no difference of the optima is shown"
    axes = [f"ALMR {almr_shift(shift.almr)}"] if shift.almr else []
    axes += [f"LR {lr_shift(shift.lr)}"] if shift.lr else []
    return f"{said} ({p_text(shift.p_corrected)}): {', '.join(axes)}"


def almr_shift(one: AxisShift) -> str:
    low, high = (numbers.number(end, 3, sign=True) for end in (one.interval.low, one.interval.high))
    return f"{numbers.number(one.value, 3, sign=True)} ({low} to {high})"


def lr_shift(one: AxisShift) -> str:
    return f"{numbers.ratio(one.value)} ({_factors(one.interval)})"


def _factors(ends: Interval) -> str:
    return f"{numbers.ratio(ends.low).removesuffix(' x')} to {numbers.ratio(ends.high)}"


def losses(found: RunComparison, pair: RunPair) -> Iterator[str]:
    """Those that compare, one by one, then the others with the reason."""
    apart: dict[str, list[str]] = {}
    for one in pair.losses:
        name = label(found.run(pair.first), found.run(pair.second), one.name)
        if one.unit is None:
            apart.setdefault(one.why, []).append(name)
        else:
            first, second = (numbers.number(value, DIGITS) for value in (one.first, one.second))
            shift = f"{difference(one.difference, one.interval)}, {p_text(one.p_value)}"
            unit = found.loss_unit if one.unit == NATS else one.unit
            yield f"{name} loss at the winner: {first} -> {second} {unit}, {shift}"
    for why, names in apart.items():
        yield f"{' and '.join(names)} losses not compared: {why}"


def difference(value: float | None, ends: Interval | None) -> str:
    """With its sign and its interval."""
    said = numbers.number(value, DIGITS, sign=True)
    if ends is None:
        return said
    low, high = (numbers.number(end, DIGITS, sign=True) for end in (ends.low, ends.high))
    return f"{said} ({low} to {high})"


def label(first: RunSummary, second: RunSummary, name: str) -> str:
    """A loss by the names that both runs have for it."""
    return " / ".join(dict.fromkeys(run.labels.get(name, name) for run in (first, second)))


def shared(found: RunComparison, pair: RunPair) -> Iterator[str]:
    """The trials that both runs have; nothing where they have none."""
    both = pair.shared
    if not both.trials:
        return
    ended = f"; {both.ended_otherwise} ended otherwise" if both.ended_otherwise else ""
    losses = "; ".join(_shared_loss(found, pair, one) for one in both.losses)
    yield f"{both.trials} trials in both{ended}{': ' if losses else ''}{losses}"


def _shared_loss(found: RunComparison, pair: RunPair, one: SharedLoss) -> str:
    name = label(found.run(pair.first), found.run(pair.second), one.name)
    worst = numbers.number(one.largest, DIGITS, sign=True)
    at = numbers.point(one.almr, one.lr)
    return f"{name} {difference(one.mean, one.interval)} nats on average, largest {worst} at {at}"


def sizes(found: RunComparison, step: SizeStep) -> Iterator[str]:
    """The chosen rule; the page has a table of all."""
    larger = found.run(step.larger)
    begin = f"{numbers.times(step.factor)} the parameters in {larger.name}"
    if step.why:
        yield f"{begin}; not predicted: {step.why}"
    for rule in step.rules:
        if rule.chosen:
            yield f"{begin}: {_prediction(rule, larger)}"


def _prediction(rule: RulePrediction, larger: RunSummary) -> str:
    if rule.lr is None or rule.lr_interval is None:
        return f"rule {rule.rule} gives no LR: {rule.why}"
    said = f"rule {rule.rule} predicted LR {numbers.lr(rule.lr)} ({numbers.interval(rule.lr_interval, 'lr')})"
    ratio = f"measured {numbers.lr(larger.winner.lr)}, {ratio_text(rule)}: {held(rule)}"
    return f"{said}, {ratio}; the predicted setting costs {rule_cost(rule)} there"


def ratio_text(rule: RulePrediction) -> str:
    return f"{numbers.ratio(rule.ratio)} ({_factors(rule.ratio_interval)})" if rule.ratio_interval else numbers.MISSING


def held(rule: RulePrediction) -> str:
    return numbers.MISSING if rule.held is None else "held" if rule.held else "did not hold"


def rule_cost(rule: RulePrediction) -> str:
    if rule.cost is None:
        return "an unknown number of nats (it is outside of what was tried)" if rule.lr else numbers.MISSING
    return f"+{numbers.number(rule.cost.nats, DIGITS)} nats ({numbers.interval(rule.cost.interval, digits=DIGITS)})"


def pair_lines(found: RunComparison, pair: RunPair) -> list[str]:
    """The verdict on two runs, then the numbers behind it."""
    first, second = found.run(pair.first), found.run(pair.second)
    return [
        f"{first.name} and {second.name}: {word(pair)}: {costs(found, pair)}",
        optima(pair.shift),
        *losses(found, pair),
        *shared(found, pair),
        *(sizes(found, pair.sizes) if pair.sizes else []),
        *(f"note: {caveat}" for caveat in own_caveats(found, pair)),
    ]


def common_caveats(found: RunComparison) -> list[str]:
    """What to know of every pair, where there are several."""
    first, *others = found.pairs
    return [one for one in first.caveats if others and all(one in pair.caveats for pair in others)]


def own_caveats(found: RunComparison, pair: RunPair) -> list[str]:
    """What to know of this pair alone."""
    return [one for one in pair.caveats if one not in common_caveats(found)]
