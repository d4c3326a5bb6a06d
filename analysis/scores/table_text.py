"""The tables of scores as text, the same in the report and in Markdown."""

from __future__ import annotations

from collections.abc import Callable

from analysis.fit_file.scores import GuardVerdict, ScoreRow, ScoresFile
from analysis.fit_file.winner import Interval
from sweep.study import numbers as formats

Label = Callable[[str], str]  # the name of a language, "original" or "additional", as the study's user wrote it
HEADS = (
    "score",
    "questions",
    "base model",
    "chosen trial",
    "change",
    "verdict",
    "questions needed",
    "best trial",
    "its score",
    "its change",
    "best minus chosen trial",
    "no verdict because",
)
OPTIMA_INTRO = (
    "Where each benchmark peaks on its own fitted surface, for the questions of this run, and how well held-out loss "
    "predicts it (rank correlation -1: lower loss always means a higher score)."
)
OPTIMA_HEADS = (
    "score",
    "best at",
    "ALMR interval",
    "LR interval",
    "same optimum as the loss?",
    "cost of choosing by loss",
    "rank correlation with loss",
)
DIGITS = 3
OWN_POINT = 0.01  # steps of the grid between the chosen trial and the winner: below, they are one point


def intro(scores: ScoresFile) -> str:
    """The trial that the table is about, and how sure its verdicts are."""
    trial = scores.winner_trial
    if trial is None:
        return "No trial has a score."
    where = f"{formats.point(trial.almr, trial.lr)}, seed {trial.seed}"
    chosen = (
        f"The chosen trial ran at the predicted optimum: {where}."
        if trial.steps < OWN_POINT
        else f"No scored trial ran exactly at the predicted optimum. The chosen trial is the nearest: {where}, "
        f"{trial.steps:.1f} steps of the grid away."
    )
    return (
        f'{chosen} Verdicts are Holm-corrected: the chance of any false "better" or "worse" among the '
        f"{scores.comparisons} comparisons is at most {formats.level(1 - scores.level)}."
    )


def legend(scores: ScoresFile) -> str:
    """The meaning of the columns."""
    return (
        f"Changes are from the base model, on the same questions, with {formats.level(scores.level)} intervals for "
        f"each score alone. The score of a group or language is the mean of its tasks. Questions needed: how many "
        f"would decide a difference as large as the observed one, with a power of 80 %. The best trial of a score is "
        f"the best of all, which is partly luck; its intervals allow for that."
    )


def _name(row: ScoreRow, label: Label) -> str:
    return label(row.name) if row.kind == "language" else row.name


def change_cells(row: ScoreRow, label: Label) -> list[str]:
    """One cell for each of HEADS."""
    change, best, name = row.change, row.best, _name(row, label)
    name = name if row.kind == "task" else f"{name} ({row.kind}, mean of {len(row.tasks)})"
    return [
        name if row.higher_is_better else f"{name}, lower is better",
        formats.whole(row.questions),
        formats.number(row.base, DIGITS),
        formats.number(row.winner, DIGITS),
        _with(change.value, change.interval) if change else formats.MISSING,
        row.verdict or formats.MISSING,
        formats.MISSING if row.needed is None else f"{row.needed:,}",
        formats.point(best.almr, best.lr) if best else formats.MISSING,
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
        return f"Guard not tested: {verdict.guard} ({verdict.why_not})"
    return (
        f"Guard {'kept' if verdict.kept else 'NOT KEPT'}: {verdict.guard}. Probability "
        f"{formats.percent(verdict.probability)}; change {_with(verdict.change, verdict.interval)}, from "
        f"{verdict.source}"
    )


def optimum_cells(row: ScoreRow, label: Label) -> list[str]:
    """One cell for each of OPTIMA_HEADS."""
    best, rank, name = row.optimum, row.correlation, _name(row, label)
    predicts = (
        f"{formats.number(rank.value, 2, True)} ({formats.interval(rank.interval, digits=2)}), {label(rank.loss)}"
        if rank
        else formats.MISSING
    )
    if best is None:
        return [name, row.why_no_optimum or formats.MISSING, *[formats.MISSING] * 4, predicts]
    edge = f" (at the edge of the tried {', '.join(axis.upper() + 's' for axis in best.at_edge)})"
    return [
        name,
        f"{formats.point(best.almr, best.lr)}{edge if best.at_edge else ''}",
        formats.interval(best.almr_interval, "almr"),
        formats.interval(best.lr_interval, "lr"),
        {True: "possibly", False: "no", None: formats.MISSING}[best.holds_winner],
        f"{formats.number(best.behind, DIGITS)} ({formats.interval(best.behind_interval)})",
        predicts,
    ]
