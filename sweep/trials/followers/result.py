"""The result of a run as plain facts, for tools that keep names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.study import numbers

if TYPE_CHECKING:
    from analysis.fit_file.result import FitResult
    from sweep.trials.followers.follower import End


def facts(end: End) -> dict[str, Any]:
    """The winner with its intervals, what its objective is, the losses there, and the verdict; empty without a fit."""
    return {} if end.fitted is None else of_fit(end.fitted, end.word)


def of_fit(fitted: FitResult, word: str) -> dict[str, Any]:
    """`word`: the verdict of the page. What the table does not state is None, never NaN."""
    winner, file = fitted.winner, fitted.file
    found: dict[str, Any] = {
        "verdict": word,
        "winner_almr": winner.almr,
        "winner_lr": winner.lr,
        "winner_objective": winner.objective,
        "interval_level": winner.level,
    }
    for name in ("almr", "lr", "objective"):
        ends = getattr(winner, f"{name}_interval")
        found |= {f"winner_{name}_low": ends.low, f"winner_{name}_high": ends.high}
    found |= {f"winner_loss_{name}": loss.mean for name, loss in winner.losses.items()}
    found |= {f"trials_{name}": count for name, count in file.trials.model_dump().items()}
    if file.transfer:
        found |= {"launch_almr": file.transfer.almr, "launch_lr": file.transfer.lr}
    found["refusals"] = "; ".join(f"{one.code}: {one.message}" for one in file.refusals) or None
    found["warnings"] = "; ".join(f"{one.code}: {one.message}" for one in file.warnings) or None
    return {name: None if numbers.missing(value) else value for name, value in found.items()}


def winner(fitted: FitResult) -> str:
    """The winner in a few words, with its intervals."""
    found, almr = fitted.winner, numbers.almr
    return (
        f"winner ALMR {almr(found.almr)} ({numbers.interval(found.almr_interval, 'almr')}), LR "
        f"{numbers.lr(found.lr)} ({numbers.interval(found.lr_interval, 'lr')})"
    )
