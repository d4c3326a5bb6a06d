"""Scores -> the scores' part of `fit.json`: the table's rows, each score's own optimum, the guards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.decision.case import Case
from analysis.fit_file.scores import Correlation, ScoreRow, ScoresFile, WinnerTrial
from analysis.scores import across, changes, guards, paired, score_optima
from analysis.scores.read import Scored, ScoredModel
from analysis.scores.score_optima import ScoredRun, ScoreSurface
from analysis.scores.targets import ScoreTarget, distinct, targets
from analysis.table.table import TriedPoints
from sweep.study import Score
from sweep.study.record import SCORING


class ScoreSummary(NamedTuple):
    """The scores' part of `fit.json`, and the surface of each score whose optimum is known, by the score's name."""

    file: ScoresFile
    surfaces: dict[str, ScoreSurface]


def summarise(case: Case, scored: Scored, seed: int = 0) -> ScoreSummary:
    """`scored` holds the case's own trials (see analysis.scores.read)."""
    with threadpool_limits(1):
        return _summarise(case, scored, seed)


def _summarise(case: Case, scored: Scored, seed: int) -> ScoreSummary:
    scored = _comparable(scored)
    every, distances = targets(scored), _distances(case, scored)
    nearest = _nearest(scored, distances)
    run = ScoredRun(
        scored=scored,
        targets=every,
        spreads={target: across.across(scored, target) for target in every},
        nearest=nearest,
        winner=case.winner,
        seed=seed,
    )
    shown = distinct(every)
    rows = changes.rows(run, shown)
    rows = _with_correlations(case, run, shown, rows)
    rows = _with_optima(run, shown, rows)
    file = ScoresFile(
        level=run.level,
        winner_trial=None
        if nearest is None
        else WinnerTrial(**asdict(scored.points[nearest]), steps=float(distances[nearest])),
        trials=sum(bool(model.answers) for model in scored.trials),
        comparisons=sum(row.change is not None for row in rows),
        rows=tuple(rows),
        guards=tuple(guards.check(guard, run) for guard in case.objective.score_guards),
        notes=tuple(_notes(scored, rows)),
    )
    known = [target for target, row in zip(shown, rows, strict=True) if row.optimum]
    return ScoreSummary(file, {target.name: found for target in known if (found := run.surface(target))})


def _distances(case: Case, scored: Scored) -> np.ndarray:
    """Distance of each scored trial to the winner, in steps of the grid: (trials,)."""
    measured = TriedPoints.of(case.table)
    points = np.array([(point.almr, point.lr) for point in scored.points]).reshape(-1, 2)
    apart = measured.scaled(points) - measured.scaled((case.winner.almr, case.winner.lr))
    return np.asarray(np.linalg.norm(apart, axis=-1))


def _nearest(scored: Scored, distances: np.ndarray) -> int | None:
    """The index of the trial with a score at the smallest distance, the first of several."""
    known = [k for k, model in enumerate(scored.trials) if model.answers]
    return min(known, key=lambda k: float(distances[k])) if known else None


def _with_correlations(
    case: Case, run: ScoredRun, shown: Sequence[ScoreTarget], rows: Sequence[ScoreRow]
) -> list[ScoreRow]:
    table = case.table.assign(objective=case.goal.of_trials(case.table)).set_index("trial_id")

    def of(target: ScoreTarget) -> Correlation | None:
        """With the loss of the task's own language, where it has one, else with the objective."""
        name, spread = f"loss_{target.language}", run.spreads[target]
        column = name if name in table and target.language else "objective"
        ids = [run.scored.points[k].trial_id for k in spread.index]
        losses = table.loc[ids, column].astype(float)
        return across.correlation(column.removeprefix("loss_"), losses, spread.values, run.level)

    return [row.model_copy(update={"correlation": of(target)}) for target, row in zip(shown, rows, strict=True)]


def _with_optima(run: ScoredRun, shown: Sequence[ScoreTarget], rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    flat = score_optima.why_flat([run.spreads[target] for target in shown], run.level)
    new = []
    for target, row, why in zip(shown, rows, flat, strict=True):
        best = why or score_optima.optimum(run, target)
        field = "why_no_optimum" if isinstance(best, str) else "optimum"
        new.append(row.model_copy(update={field: best}))
    return new


def _notes(scored: Scored, rows: Sequence[ScoreRow]) -> Iterator[str]:
    unpaired = Counter(row.change.unpaired for row in rows if row.change and row.change.unpaired)
    for why, count in unpaired.items():
        yield f"The intervals of {count} changes are too wide, since they are from the two standard errors: {why}"
    for row in rows:
        if row.left_out:
            yield f"{row.name} is the mean of its tasks on a scale from 0 to 1, without {', '.join(row.left_out)}"
    failed = Counter((task, why) for model in scored.trials for task, why in model.failures.items())
    for (task, why), count in failed.items():
        missing = "No scores" if task == SCORING else f"No score for {task}"
        yield f"{missing} in {count} of {len(scored.trials)} trials: {why}"


def _comparable(scored: Scored) -> Scored:
    """Without the scores for other questions than the base model's, or, where it has none, than most trials'.

    If a study's `benchmarks.limit`, `shots` or task file changed during the run, its trials were scored on different
    questions: a best trial, a surface or a rank correlation over both would compare the questions.
    """
    reference = _reference(scored)
    return replace(scored, trials=[_kept(model, reference) for model in scored.trials])


def _reference(scored: Scored) -> dict[str, Score]:
    """For each task, a score for the questions that are compared."""
    every: dict[str, list[Score]] = {}
    for model in scored.trials:
        for task, answers in model.answers.items():
            every.setdefault(task, []).append(answers.score)
    return {task: _commonest(scores) for task, scores in every.items()} | {
        task: answers.score for task, answers in scored.base.answers.items()
    }


def _commonest(scores: list[Score]) -> Score:
    questions = Counter((score.version, score.prompt_sha256, score.metric) for score in scores)
    most = questions.most_common(1)[0][0]
    return next(score for score in scores if (score.version, score.prompt_sha256, score.metric) == most)


def _kept(model: ScoredModel, reference: dict[str, Score]) -> ScoredModel:
    apart = {task: paired.other_questions(answers.score, reference[task]) for task, answers in model.answers.items()}
    why = {task: f"left out: {reason}" for task, reason in apart.items() if reason}
    return ScoredModel({task: a for task, a in model.answers.items() if task not in why}, model.failures | why)
