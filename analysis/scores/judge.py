"""Scores -> what they say of a winner: the table's rows, the scores' own optima, the guards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.decision.case import Case
from analysis.fit_file.scores import Correlation, ScoreRow, ScoresFile, WinnerTrial
from analysis.scores import across, changes, guards
from analysis.scores import score_optima as optima
from analysis.scores.across import ScoreSpread
from analysis.scores.comparable import comparable
from analysis.scores.read import Scored
from analysis.scores.score_optima import ScoreSurface, Surfaces
from analysis.scores.targets import ScoreTarget, distinct, targets
from analysis.table.tried_points import TriedPoints
from sweep.study.record import SCORING
from sweep.study.study import MINIMUM_TRIALS


def judge(case: Case, scored: Scored, seed: int = 0) -> ScoresFile:
    """`scored` is of the case's own trials (see analysis.scores.read)."""
    with threadpool_limits(1):
        return _judge(case, scored, seed)


def _judge(case: Case, scored: Scored, seed: int) -> ScoresFile:
    scored = comparable(scored)
    every, level = targets(scored), case.winner.level
    shown = distinct(every)
    found = {target: across.across(scored, target) for target in every}
    distances = _distances(case, scored)
    nearest = changes.nearest(scored, distances)
    surfaces = _surfaces(scored, found, seed)
    rows = changes.rows(scored, shown, nearest, level)
    rows = _with_correlations(case, scored, shown, found, rows)
    rows = _with_optima(case, scored, shown, found, rows, surfaces, seed)
    judged = [guards.judge(g, scored, every, nearest, case.winner, surfaces) for g in case.objective.guards]
    return ScoresFile(
        level=level,
        winner_trial=None if nearest is None else _stands(scored, nearest, float(distances[nearest])),
        trials=sum(bool(model.answers) for model in scored.trials),
        comparisons=sum(row.change is not None for row in rows),
        rows=tuple(rows),
        guards=tuple(judged),
        notes=tuple(_notes(scored, rows)),
    )


def _distances(case: Case, scored: Scored) -> np.ndarray:
    """Of each scored trial to the winner, in steps of the grid: (trials,)."""
    measured = TriedPoints.of(case.table)
    points = np.array([(place.almr, place.lr) for place in scored.places]).reshape(-1, 2)
    apart = measured.scaled(points) - measured.scaled((case.winner.almr, case.winner.lr))
    return np.asarray(np.linalg.norm(apart, axis=-1))


def _stands(scored: Scored, nearest: int, steps: float) -> WinnerTrial:
    place = scored.places[nearest]
    return WinnerTrial(trial_id=place.trial_id, almr=place.almr, lr=place.lr, seed=place.seed, steps=steps)


def _surfaces(scored: Scored, found: dict[ScoreTarget, ScoreSpread], seed: int) -> Surfaces:
    """Fitted when asked for, once: most of what is scored needs none."""

    @cache
    def surface(target: ScoreTarget) -> ScoreSurface | None:
        if len(found[target].index) < MINIMUM_TRIALS:
            return None
        return ScoreSurface.fit(scored, target, found[target], seed)

    return surface


def _with_correlations(
    case: Case,
    scored: Scored,
    shown: Sequence[ScoreTarget],
    found: dict[ScoreTarget, ScoreSpread],
    rows: Sequence[ScoreRow],
) -> list[ScoreRow]:
    table = case.table.assign(objective=case.goal.of_trials(case.table)).set_index("trial_id")

    def of(target: ScoreTarget) -> Correlation | None:
        """With the loss of the task's own language, where it has one, else with the objective."""
        name = f"loss_{target.language}"
        column = name if name in table and target.language else "objective"
        ids = [scored.places[k].trial_id for k in found[target].index]
        losses = table.loc[ids, column].astype(float)
        return across.correlation(column.removeprefix("loss_"), losses, found[target].values, case.winner.level)

    return [r.model_copy(update={"correlation": of(t)}) for t, r in zip(shown, rows, strict=True)]


def _with_optima(
    case: Case,
    scored: Scored,
    shown: Sequence[ScoreTarget],
    found: dict[ScoreTarget, ScoreSpread],
    rows: Sequence[ScoreRow],
    surfaces: Surfaces,
    seed: int,
) -> list[ScoreRow]:
    level, refused = case.winner.level, optima.why_flat([found[target] for target in shown], case.winner.level)
    new = []
    for target, row, why in zip(shown, rows, refused, strict=True):
        surface = None if why else surfaces(target)
        best = optima.optimum(surface, scored, found[target], case.winner, level, seed) if surface else why
        field = "why_no_optimum" if isinstance(best, str) else "optimum"
        new.append(row.model_copy(update={field: best}))
    return new


def _notes(scored: Scored, rows: Sequence[ScoreRow]) -> Iterator[str]:
    unpaired = Counter(row.change.unpaired for row in rows if row.change and row.change.unpaired)
    for why, count in unpaired.items():
        yield f"{count} of the changes are from the two standard errors, so that their intervals are too wide: {why}"
    for row in rows:
        if row.left_out:
            yield f"{row.name} is the mean of its tasks on a scale from 0 to 1, without {', '.join(row.left_out)}"
    failed = Counter((task, why) for model in scored.trials for task, why in model.failures.items())
    for (task, why), count in failed.items():
        what = "no score could be had" if task == SCORING else f"{task} has no score"
        yield f"{what} in {count} of {len(scored.trials)} trials: {why}"
