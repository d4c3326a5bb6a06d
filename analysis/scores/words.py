"""The rows of the table of scores as people read them, the same in the report and in Markdown."""

from __future__ import annotations

from analysis.fit_file.scores import GuardVerdict, ScoreRow, ScoresFile
from analysis.fit_file.winner import Interval
from sweep.study import numbers as formats

HEADS = (
    "score",
    "questions",
    "base",
    "winner's trial",
    "change",
    "verdict",
    "to decide",
    "best trial",
    "its score",
    "its change",
    "above the winner's trial",
    "why nothing is said",
)
DIGITS = 3


def intro(scores: ScoresFile) -> str:
    """What the numbers are, in a few sentences."""
    level, trial = formats.percent(scores.level), scores.winner_trial
    if trial is None:
        return "No trial has a score."
    where = f"ALMR {formats.almr(trial.almr)}, LR {formats.lr(trial.lr)}, seed {trial.seed}"
    near = "which is the winner's own point" if trial.steps < 0.01 else f"{trial.steps:.1f} steps of the grid off"
    return (
        f"The winner's trial is the scored trial nearest to the winner: {where}, {near}. Changes are against the base "
        f"model over the same questions, with {level} intervals of each comparison alone. The verdict is corrected for "
        f"the {scores.comparisons} comparisons (Holm): with {level}, not one of the rows without a true change is "
        f"called better or worse. A group's or language's score is the mean over its tasks, each counting the same. To "
        f"decide: how many questions would tell a difference as large as the observed one from none, with a power of "
        f"80 %. The best trial of a score is the best of all that have it, which is partly luck; its intervals "
        f"allow for that choice."
    )


def cells(row: ScoreRow) -> list[str]:
    """One for each of HEADS."""
    change, best = row.change, row.best
    name = row.name if row.kind == "task" else f"{row.name} ({row.kind}, mean of {len(row.tasks)})"
    return [
        name if row.higher_is_better else f"{name}, lower is better",
        formats.whole(row.questions),
        formats.number(row.base, DIGITS),
        formats.number(row.winner, DIGITS),
        _with(change.value, change.interval) if change else formats.MISSING,
        row.verdict or formats.MISSING,
        formats.tokens(row.needed),
        f"ALMR {formats.almr(best.almr)}, LR {formats.lr(best.lr)}" if best else formats.MISSING,
        formats.number(best and best.value, DIGITS),
        _with(best.change, best.change_interval) if best else formats.MISSING,
        _with(best.above_winner, best.above_winner_interval) if best else formats.MISSING,
        row.why_no_change or "",
    ]


def _with(change: float | None, interval: Interval | None) -> str:
    if change is None or interval is None:
        return formats.MISSING
    return f"{formats.number(change, DIGITS, True)} ({formats.interval(interval)})"


def guard(verdict: GuardVerdict) -> str:
    """Whether the guard is kept, with the numbers."""
    if verdict.probability is None or verdict.interval is None:
        return f"{verdict.guard}: cannot be judged, {verdict.why_not}"
    return (
        f"{verdict.guard}: {'kept' if verdict.kept else 'NOT KEPT'}, with a probability of "
        f"{formats.percent(verdict.probability)}; it changes by {_with(verdict.change, verdict.interval)}, by "
        f"{verdict.source}"
    )


def across(row: ScoreRow) -> list[str]:
    """Where the score is best, whether the winner may be there, how far behind it is, and how loss foretells it."""
    best, rank = row.optimum, row.correlation
    foretold = (
        f"{rank.value:+.2f} ({formats.interval(rank.interval, digits=2)}), {rank.loss}" if rank else formats.MISSING
    )
    if best is None:
        return [row.name, row.why_no_optimum or formats.MISSING, *[formats.MISSING] * 4, foretold]
    within = {True: "may be the same", False: "elsewhere", None: formats.MISSING}[best.holds_winner]
    edge = f" (an end of the measured {', '.join(dial.upper() + 's' for dial in best.at_edge)})" if best.at_edge else ""
    return [
        row.name,
        f"ALMR {formats.almr(best.almr)}, LR {formats.lr(best.lr)}{edge}",
        formats.interval(best.almr_interval, "almr"),
        formats.interval(best.lr_interval, "lr"),
        within,
        f"{formats.number(best.behind, DIGITS)} ({formats.interval(best.behind_interval)})",
        foretold,
    ]


ACROSS_HEADS = (
    "score",
    "best at",
    "ALMR",
    "LR",
    "against the loss winner",
    "the winner is behind by",
    "rank correlation with loss",
)
