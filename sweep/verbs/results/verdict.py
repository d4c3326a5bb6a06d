"""A fit in a few lines of text: refused or not, the winner, how well it is known, and the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.fit_file.findings import suggested
from analysis.fit_file.sources import loss_guard_line
from sweep.study import LANGUAGES, numbers

if TYPE_CHECKING:
    from analysis.fit_file.fit_file import CrossValidation, FitFile
    from analysis.fit_file.result import FitResult
    from analysis.fit_file.winner import Winner


def verdict(fitted: FitResult) -> str:
    file = fitted.file
    simulated = [finding for finding in file.warnings if finding.code == "simulated"]
    lines = [
        *(finding.message for finding in simulated),
        *(f"REFUSED ({finding.code}): {finding.message}" for finding in file.refusals),
        *_winner(fitted),
        *_horizons(file),
        *_region(file),
        *([fitted.one_seed] if fitted.one_seed else []),
        *_transfer(file),
        *_losses(fitted),
        _divergence(file),
        *([] if file.alone else [_coupling(fitted)]),
        *_sources(fitted),
        *_accuracy(fitted),
        *_scores(fitted),
        *(f"warning: {finding.message}" for finding in file.warnings if finding not in simulated),
        *suggested(file.refusals or file.warnings),  # as the command that runs them
    ]
    return "\n".join(lines)


def point(winner: Winner, level: str = "", alone: str | None = None) -> str:
    """The winner with its intervals; of a hyper-parameter that was fitted alone, with the one value of the other."""
    almr, lr = numbers.interval(winner.almr_interval, "almr"), numbers.interval(winner.lr_interval, "lr")
    if alone == "almr":
        return f"ALMR {numbers.almr(winner.almr)} ({level}{almr}), at LR {numbers.lr(winner.lr)}, the only one tried"
    if alone == "lr":
        at = "" if numbers.missing(winner.almr) else f", at ALMR {numbers.almr(winner.almr)}, the only one tried"
        return f"LR {numbers.lr(winner.lr)} ({level}{lr}){at}"
    return f"ALMR {numbers.almr(winner.almr)} ({level}{almr}), LR {numbers.lr(winner.lr)} ({lr})"


def _winner(fitted: FitResult) -> list[str]:
    winner, counts = fitted.file.winner, fitted.file.trials
    refused = " (refused)" if fitted.file.refusals else ""
    used = int(fitted.table["excluded"].isna().sum())
    complete = f"{counts.complete}" if used == counts.complete else f"{used} of {counts.complete}"
    loss = f"{numbers.number(winner.objective, 4)} ({numbers.interval(winner.objective_interval, digits=4)})"
    unit = fitted.loss_unit
    return [
        f"winner{refused}: {point(winner, f'{numbers.level(winner.level)} interval ', fitted.file.alone)}",
        f"objective there: {loss} {unit}, {_objective(fitted)}",
        f"based on {complete} complete trials, {counts.diverged} diverged, {counts.failed} failed",
        *([f"trained by {fitted.file.trained_by}"] if fitted.file.trained_by else []),
    ]


def _objective(fitted: FitResult) -> str:
    if guard := fitted.file.guard:
        return (
            f"the {fitted.label('additional')} loss with the {fitted.label('original')} loss at most "
            f"{numbers.number(guard.bound, 4)}, {guard.percent:g} % above the base model's (probability "
            f"{numbers.percent(guard.probability)})"
        )
    weights = fitted.file.weights or {}
    sources = weights.keys() - {*LANGUAGES, "total"}  # beside them, languages that are not listed have weight 0
    shown = [(name, share) for name, share in weights.items() if share or not sources]
    if len(shown) == 1:
        return "the loss" if shown[0][0] == "total" else f"the loss of {fitted.label(shown[0][0])}"
    return "the loss of " + " and ".join(f"{fitted.label(name)} (weight {share:.2g})" for name, share in shown)


def _horizons(file: FitFile) -> list[str]:
    return [
        f"at {one.tokens:,} tokens: {point(one.winner, alone=file.alone)}"
        + (f"; refused ({', '.join(one.refusals)})" if one.refusals else "")
        for one in file.horizons
    ]


def _transfer(file: FitFile) -> list[str]:
    """The launch's setting, what the other rules say, and which of them are not computed or do not apply."""
    level = numbers.level(file.winner.level)
    lines = []
    if found := file.transfer:
        almr, lr = numbers.almr(found.almr), numbers.lr(found.lr)
        interval = numbers.interval(found.lr_interval, "lr")
        lines = [f"launch, by rule {found.rule}: ALMR {almr}, LR {lr} ({level} interval {interval})"]
    others = [rule for rule in file.transfer_rules if rule.lr_interval and not (rule.chosen and found)]
    said = (
        f"{rule.rule} {numbers.lr(rule.lr)} ({numbers.interval(rule.lr_interval, 'lr')})"
        + ("" if rule.applies else ", does not apply")
        for rule in others
        if rule.lr_interval
    )
    return [*lines, *([f"launch, LR by other rules: {'; '.join(said)}"] if others else [])]


def _losses(fitted: FitResult) -> list[str]:
    """The losses predicted after the launch."""
    found = fitted.file.transfer.losses if fitted.file.transfer else {}
    said = [
        f"{fitted.label(n)} {numbers.number(one.loss)} ({numbers.interval(one.interval)})" for n, one in found.items()
    ]
    if not said:
        return []
    of = next(iter(found.values()))
    return [f"loss after the launch, from {of.sizes} sizes at {numbers.tokens(of.tokens)} tokens: {', '.join(said)}"]


def _region(file: FitFile) -> list[str]:
    if file.region is None:
        return []
    share, level = numbers.percent(file.region.share, 1), numbers.level(file.region.level)
    return [f"the {level} joint region of ALMR and LR is {share} of the tried range"]


def _divergence(file: FitFile) -> str:
    edge = file.divergence
    if edge.factor is None:
        return f"divergence: {edge.trials} trials diverged, which does not bound the LR"
    lr = f"LR {numbers.lr(edge.lr)}, {numbers.times(edge.factor)} the winner's"
    return f"divergence: from about {lr}" if edge.trials else f"divergence: none up to {lr}"


def _coupling(fitted: FitResult) -> str:
    from analysis.surfaces.optima import DRAWS  # with scipy, which takes a second to import

    if found := fitted.file.coupling:
        p = f"p {'at most' if found.p_value <= 1 / DRAWS else '='} {found.p_value:.2g}"
        factor = (
            f"the best LR at ALMR {numbers.almr(found.almr_high)} is {numbers.times(found.factor)} that at ALMR "
            f"{numbers.almr(found.almr_low)} ({p})"
        )
        if not found.shown:
            return f"coupling: none found; {factor}"
        bend = "" if found.straight else ", and the curve between them is not straight"
        return f"coupling: {factor}{bend}; tune the two together"
    if fitted.guards:
        return f"coupling: not estimated under {fitted.guards}"
    return "coupling: not known: at too few ALMRs the best LR lies inside the tried range"


def _sources(fitted: FitResult) -> list[str]:
    """The guards of losses, and the held-out loss of each source at the winner against the base model's."""
    known = [one for one in fitted.file.sources if one.loss and one.base is not None]
    losses = (
        f"{fitted.label(one.name)} {numbers.number(one.base, 4)} -> {numbers.number(one.loss and one.loss.mean, 4)} "
        f"({one.verdict})"
        for one in known
    )
    return [
        *(f"guard: {loss_guard_line(guard, fitted.label)}" for guard in fitted.file.loss_guards),
        *([f"loss by source, base model -> winner: {', '.join(losses)}"] if known else []),
    ]


def _accuracy(fitted: FitResult) -> list[str]:
    return [
        f"{fitted.label(name)}: noise {numbers.number(fitted.file.noise[name], 4)} nats, leave-one-out error "
        f"{numbers.number(check.rmse, 4)} nats, {_coverage(check)}"
        for name, check in fitted.file.cross_validation.items()
    ]


def _coverage(check: CrossValidation) -> str:
    shares = check.coverage.items()
    inside = (f"{numbers.percent(share)} in the {numbers.level(float(level))} band" for level, share in shares)
    return f"trials: {', '.join(inside)}"


def _scores(fitted: FitResult) -> list[str]:
    """Which scores changed against the base model, and the guards that are kept."""
    scores = fitted.file.scores
    if scores is None or scores.winner_trial is None:
        return []
    changes = [f"{word} {', '.join(found)}" for word in ("better", "worse") if (found := _changed(fitted, word))]
    unclear = sum(row.verdict == "not distinguishable" for row in scores.rows)
    at = numbers.point(scores.winner_trial.almr, scores.winner_trial.lr)
    kept = [f"{g.guard}: kept with probability {numbers.percent(g.probability)}" for g in scores.guards if g.kept]
    verdicts = "; ".join([*changes, f"{unclear} not distinguishable"])
    return [
        f"scores at {at} against the base model, {scores.comparisons} comparisons (Holm-corrected): {verdicts}",
        *([f"guards: {'; '.join(kept)}"] if kept else []),
    ]


def _changed(fitted: FitResult, word: str) -> list[str]:
    rows = fitted.file.scores.rows if fitted.file.scores else ()
    return [
        f"{fitted.score_label(row.name)} {numbers.number(row.change.value, 3, sign=True)}"
        for row in rows
        if row.verdict == word and row.change
    ]
