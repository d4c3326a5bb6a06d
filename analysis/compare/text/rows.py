"""A comparison as tables, a row a list of cells, and all of it as the terminal shows it."""

from __future__ import annotations

from analysis.compare.result import BITS, RunComparison, RunSummary
from analysis.compare.text import pairs
from sweep.study import numbers
from sweep.study.tables import aligned


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
            cells = (numbers.number(run.bits_per_byte.get(name), pairs.DIGITS) for run in found.runs)
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
    ends = numbers.interval(run.winner.objective_interval, digits=pairs.DIGITS)
    return f"{numbers.number(run.winner.objective, pairs.DIGITS)} ({ends})"


def _loss(run: RunSummary, name: str) -> str:
    if (one := run.winner.losses.get(name)) is None:
        return numbers.MISSING
    return f"{numbers.number(one.mean, pairs.DIGITS)} ({numbers.interval(one.interval, digits=pairs.DIGITS)})"


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
    every = {(one.winner_of, one.on): pairs.cost(one) for pair in found.pairs for one in pair.elsewhere}
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
    level = numbers.level(found.level)
    return [
        *(line for pair in found.pairs for line in [*pairs.pair_lines(found, pair), ""]),
        *(line for one in pairs.common_caveats(found) for line in [f"note: {one}", ""]),
        f"Winners, with their intervals ({level} where the study says no other); losses in {found.loss_unit}",
        *aligned.blocks(winner_rows(found), width),
        "",
        *(["The recipes differ in", *(_field(row) for row in fields[1:])] if fields else [no_fields(found)]),
        *([f"{len(others) - 1} fields of launch and machines differ too: see the page"] if others else []),
    ]
