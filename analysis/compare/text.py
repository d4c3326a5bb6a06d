"""A comparison in words and cells: the terminal and the page say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from analysis.compare.result import (
    BITS,
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
            yield f"{name} loss at the winner: {first} -> {second} {one.unit}, {shift}"
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


def winner_rows(found: RunComparison) -> list[list[str]]:
    """A row per quantity and a column per run: the winners with their intervals."""
    rows = [["", *(f"{run.mark} {run.name}" for run in found.runs)]]
    rows.append(["ALMR", *(_almr(run) for run in found.runs)])
    rows.append(["peak LR", *(_lr(run) for run in found.runs)])
    rows.append(["objective", *(_objective(run) for run in found.runs)])
    for name in dict.fromkeys(name for run in found.runs for name in run.winner.losses):
        heads = dict.fromkeys(run.labels.get(name, name) for run in found.runs)
        rows.append([f"{' / '.join(heads)} loss", *(_loss(run, name) for run in found.runs)])
        if any(name in run.bits_per_byte for run in found.runs):
            cells = (numbers.number(run.bits_per_byte.get(name), DIGITS) for run in found.runs)
            rows.append([f"  {BITS}", *cells])
    rows.append(["minimised", *(run.objective for run in found.runs)])
    rows.append(["trials", *(_trials(run) for run in found.runs)])
    rows.append(["fit", *(_verdict(run) for run in found.runs)])
    return rows


def _almr(run: RunSummary) -> str:
    if run.alone == "lr":
        return f"{numbers.almr(run.winner.almr)}, the only one tried"
    return f"{numbers.almr(run.winner.almr)} ({numbers.interval(run.winner.almr_interval, 'almr')})"


def _lr(run: RunSummary) -> str:
    if run.alone == "almr":
        return f"{numbers.lr(run.winner.lr)}, the only one tried"
    return f"{numbers.lr(run.winner.lr)} ({numbers.interval(run.winner.lr_interval, 'lr')})"


def _objective(run: RunSummary) -> str:
    ends = numbers.interval(run.winner.objective_interval, digits=DIGITS)
    return f"{numbers.number(run.winner.objective, DIGITS)} ({ends})"


def _loss(run: RunSummary, name: str) -> str:
    if (one := run.winner.losses.get(name)) is None:
        return numbers.MISSING
    return f"{numbers.number(one.mean, DIGITS)} ({numbers.interval(one.interval, digits=DIGITS)})"


def _trials(run: RunSummary) -> str:
    lost = {"diverged": run.trials.diverged, "failed": run.trials.failed}
    return ", ".join([f"{run.trials.complete} complete", *(f"{count} {name}" for name, count in lost.items() if count)])


def _verdict(run: RunSummary) -> str:
    if run.refusals:
        return f"REFUSED ({', '.join(dict.fromkeys(one.code for one in run.refusals))})"
    count = len(run.warnings)
    return f"{count} warning{'s' if count > 1 else ''}" if count else "no warning"


def cost_rows(found: RunComparison) -> list[list[str]]:
    """A row per winner and a column per surface: nats over the best there."""
    every = {(one.winner_of, one.on): cost(one) for pair in found.pairs for one in pair.elsewhere}
    heads = ["winner of", *(f"on {run.mark} {run.name}" for run in found.runs)]
    return [
        heads,
        *([f"{run.mark} {run.name}", *(every.get((run.mark, on.mark), "") for on in found.runs)] for run in found.runs),
    ]


def field_rows(found: RunComparison, decides: bool) -> list[list[str]]:
    """The fields that differ; those that decide a trial's losses and the fit, or the others. Empty without any."""
    rows = [
        [one.field, *("no study" if value is None else value for value in one.values)]
        for one in found.fields
        if one.decides == decides
    ]
    return [["field", *(f"{run.mark} {run.name}" for run in found.runs)], *rows] if rows else []


def _field(row: list[str]) -> str:
    return f"  {row[0]}: {' -> '.join(row[1:])}" if len(row) == 3 else f"  {row[0]}: {' | '.join(row[1:])}"


def no_fields(found: RunComparison) -> str:
    """Why no field of the recipes is listed."""
    few = sum(run.kind == "run" for run in found.runs) < 2
    return "A table states no recipe, so none are compared." if few else "No field of the recipes differs."


def lines(found: RunComparison, width: int) -> list[str]:
    """The terminal's text, in lines of about `width`."""
    fields, others = field_rows(found, decides=True), field_rows(found, decides=False)
    level = numbers.percent(found.level)
    return [
        *(line for pair in found.pairs for line in [*pair_lines(found, pair), ""]),
        *(line for one in common_caveats(found) for line in [f"note: {one}", ""]),
        f"Winners, with their intervals ({level} where the study says no other); losses in nats per token",
        *blocks(winner_rows(found), width),
        "",
        *(["The recipes differ in", *(_field(row) for row in fields[1:])] if fields else [no_fields(found)]),
        *([f"{len(others) - 1} fields of launch and machines differ too: see the page"] if others else []),
    ]


def blocks(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table as text, its columns aligned; in parts below each other where it is wider than `width`: in columns of a
    terminal, of which a Chinese character takes two.
    """
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(rows[0]))]
    parts: list[list[int]] = [[]]
    for k in range(1, len(widths)):
        if parts[-1] and widths[0] + sum(2 + widths[j] for j in [*parts[-1], k]) > width:
            parts.append([])
        parts[-1].append(k)
    return [
        "  ".join(row[k] + " " * (widths[k] - cell_len(row[k])) for k in [0, *part]).rstrip()
        for part in parts
        for row in rows
    ]
