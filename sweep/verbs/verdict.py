"""A fit in a few lines of text: what was chosen, how well it is known, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.fit.fit import Fit
    from analysis.fit_file.fit_file import CrossValidation, FitFile
    from analysis.fit_file.winner import Interval


def verdict(fitted: Fit) -> str:
    file = fitted.file
    lines = [
        *_winner(file),
        *_horizons(file),
        *_goal(file),
        *_safety(file),
        *_coupling(file),
        *_quality(fitted),
        *_scores(file),
    ]
    lines += [f"warning: {finding.text}" for finding in file.warnings]
    return "\n".join([*lines, *(f"REFUSED ({finding.code}): {finding.text}" for finding in file.refusals)])


def _range(interval: Interval, form: str) -> str:
    return f"{interval.low:{form}} to {interval.high:{form}}"


def _winner(file: FitFile) -> list[str]:
    winner, level = file.winner, f"{file.winner.level:.0%}"
    counts = file.trials
    return [
        f"winner: ALMR {winner.almr:.2f} ({level} {_range(winner.almr_interval, '.2f')}), "
        f"LR {winner.lr:.2e} ({level} {_range(winner.lr_interval, '.2e')})",
        f"objective there: {winner.objective:.4f} nats per token ({_range(winner.objective_interval, '.4f')})",
        f"from {counts.complete} complete trials, {counts.diverged} diverged, {counts.failed} failed",
    ]


def _horizons(file: FitFile) -> list[str]:
    return [
        f"at {one.tokens:,} tokens: ALMR {one.winner.almr:.2f} ({_range(one.winner.almr_interval, '.2f')}), "
        f"LR {one.winner.lr:.2e} ({_range(one.winner.lr_interval, '.2e')})"
        + (f"; refused: {', '.join(one.refusals)}" if one.refusals else "")
        for one in file.horizons
    ]


def _goal(file: FitFile) -> list[str]:
    """What was minimised."""
    if file.guard:
        return [
            f"objective: the additional language's loss, with the original's at most {file.guard.bound:.4f} "
            f"({file.guard.percent:g} % above the base model); kept there with probability {file.guard.probability:.2f}"
        ]
    weights = " and ".join(f"{share:.2g} for {name}" for name, share in (file.weights or {}).items())
    return [f"objective: the mean loss, weighted {weights}"]


def _safety(file: FitFile) -> list[str]:
    edge = file.divergence
    share = [f"the joint region covers {file.region.share:.1%} of the measured range"] if file.region else []
    if edge.factor is None:
        return [*share, f"{edge.trials} trials diverged, at LRs that draw no edge"]
    if not edge.trials:
        return [*share, f"nothing diverged up to {edge.factor:.2g} times the winner's LR"]
    return [*share, f"the divergence edge is at {edge.factor:.2g} times the winner's LR (LR {edge.lr:.2e})"]


def _coupling(file: FitFile) -> list[str]:
    if not file.coupling:
        return ["coupling of ALMR and LR: not known"]
    slope = file.coupling
    bend = "" if slope.straight else "; the curve is not straight, so this is only an average"
    return [
        f"coupling: ln LR* changes by {slope.slope:+.2f} per unit of {slope.form} "
        f"({file.winner.level:.0%} {_range(slope.interval, '+.2f')}; no coupling: p = {slope.p_value:.2g}){bend}"
    ]


def _quality(fitted: Fit) -> list[str]:
    return [
        f"{fitted.label(name)}: noise {fitted.file.noise[name]:.4f} nats at the winner; leave-one-out error "
        f"{check.rmse:.4f}; trials inside their bands: {_calibration(check)}"
        for name, check in fitted.file.cross_validation.items()
    ]


def _scores(file: FitFile) -> list[str]:
    """What was told from the base model, and the guards."""
    if file.scores is None or file.scores.winner_trial is None:
        return []
    told = [f"{word} {', '.join(names)}" for word in ("better", "worse") if (names := _named(file, word))]
    rest = sum(row.verdict == "not distinguishable" for row in file.scores.rows)
    kept = [
        f"{guard.guard}: kept with a probability of {guard.probability:.0%}"
        for guard in file.scores.guards
        if guard.kept
    ]
    return [
        f"scores of {file.scores.winner_trial.trial_id} against the base model, {file.scores.comparisons} comparisons: "
        f"{'; '.join([*told, f'{rest} not distinguishable'])}",
        *([f"guards: {'; '.join(kept)}"] if kept else []),
    ]


def _named(file: FitFile, word: str) -> list[str]:
    rows = file.scores.rows if file.scores else ()
    return [f"{row.name} {row.change.value:+.3f}" for row in rows if row.verdict == word and row.change]


def _calibration(check: CrossValidation) -> str:
    return ", ".join(f"{share:.0%} (of {float(level):.0%})" for level, share in check.coverage.items())
