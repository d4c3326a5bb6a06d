"""Constructed scores of known truth: a question is right where ability, its ease and a trial's own luck are over 0.

Trials answer the same questions, so the ease is shared; abilities are smooth in (ALMR, ln LR).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.decision.case import Case
from analysis.fit.fit import Fit
from analysis.scores.read import QuestionAnswers, Scored, ScoredModel, ScoredPoint
from sweep.study import Objective, Record, Score, Study, Trial

BEST_LR = 1.1e-4
LUCK = 0.4
GROUPS = {"ceval": ("Chinese", "additional"), "cmmlu": ("Chinese", "additional"), "mmlu": ("English", "original")}
GROUPS |= {"arc": ("English", "original"), "coin": ("English", "original")}
BASE = {"ceval": 0.0, "cmmlu": -0.3, "mmlu": 0.3, "arc": 0.2, "coin": 0.0}


def abilities(almr: float, lr: float, drop: float = 0.0) -> dict[str, float]:
    """Chinese peaks at ALMR 0.8, English falls by `drop` per unit of ALMR, `coin` is the same everywhere."""
    valley = 0.1 * np.log(lr / BEST_LR) ** 2
    return {
        "ceval": 1.0 - 2 * (almr - 0.8) ** 2 - valley,
        "cmmlu": 0.5 - 2 * (almr - 0.8) ** 2 - valley,
        "mmlu": 0.3 - drop * almr,
        "arc": 0.2 - drop * almr,
        "coin": 0.0,
    }


def answer(able: dict[str, float], trial: int, n: int) -> dict[str, list[float]]:
    """`trial` seeds a model's own luck; the questions are the same for all."""
    answers = {}
    for task, ability in able.items():
        ease = np.random.default_rng([7, *task.encode()]).standard_normal(n)
        luck = np.random.default_rng([trial, *task.encode()]).standard_normal(n)
        answers[task] = (ability + ease + LUCK * luck > 0).astype(float).tolist()
    return answers


def score(task: str, answers: list[float], **fields: Any) -> Score:
    group, language = GROUPS.get(task, ("Other", None))
    values = np.array(answers)
    measured = {"value": values.mean(), "stderr": values.std(ddof=1) / np.sqrt(len(values)), "n": len(values)}
    named = {"group": group, "language": language, "metric": "acc", "version": "1", "prompt_sha256": "p"}
    return Score.model_validate(measured | named | fields)


def write_scores(
    run: Path,
    records: list[Record],
    of: Study,
    write_run: Callable[..., Path],
    n: int = 300,
    drop: float = 0.0,
    only: Callable[[Record], bool] = lambda record: True,
    questions: bool = True,
) -> Path:
    """A run whose trials, those that `only` picks, and base model were scored."""
    answers = {r.trial_id: answer(abilities(r.almr, r.lr, drop), k + 1, n) for k, r in enumerate(records) if only(r)}
    scored = [
        r.model_copy(update={"scores": {t: score(t, a) for t, a in answers.get(r.trial_id, {}).items()}})
        for r in records
    ]
    write_run(run, scored, of)
    base = answer(BASE, 0, n)
    (run / "base").mkdir()
    (run / "base" / "scores.json").write_text(json.dumps({t: score(t, a).model_dump() for t, a in base.items()}))
    if questions:
        (run / "base" / "questions.json").write_text(json.dumps(base))
        for trial_id, given in answers.items():
            (run / "trials" / trial_id / "questions.json").write_text(json.dumps(given))
    return run


@pytest.fixture(scope="session")
def scored_run(write_run: Callable[..., Path], make_bowl: Callable[..., list[Record]]) -> Callable[..., Path]:
    def build(run: Path, study: Study, **settings: Any) -> Path:
        return write_scores(run, make_bowl(), study, write_run, **settings)

    return build


@pytest.fixture(scope="session")
def bowl_case(fitted: Fit) -> Callable[..., Case]:
    """The bowl as it is judged, under other guards."""

    def case(*guards: dict[str, Any]) -> Case:
        file, objective = fitted.file, Objective.model_validate({"guards": guards})
        return Case(
            table=fitted.table,
            objective=objective,
            study=fitted.study,
            goal=fitted.goal,
            surfaces=fitted.surfaces,
            lattice=fitted.lattice,
            optima=fitted.optima,
            winner=file.winner,
            region=file.region,
            curve=file.curve,
            edge=file.divergence,
            checks=file.cross_validation,
        )

    return case


@pytest.fixture(scope="session")
def scores_of() -> Callable[..., Scored]:
    """Scores of the trials at (ALMR, LR) points, and of the base model, as they are read from a run."""

    def build(
        points: list[tuple[float, float]], n: int = 300, drop: float = 0.0, tasks: tuple[str, ...] = tuple(BASE)
    ) -> Scored:
        able = [BASE, *(abilities(almr, lr, drop) for almr, lr in points)]
        models = []
        for k, ability in enumerate(able):
            given = answer({task: ability[task] for task in tasks}, k, n)
            models.append(ScoredModel({t: QuestionAnswers(score(t, a), np.array(a)) for t, a in given.items()}, {}))
        places = [ScoredPoint(Trial(almr=a, lr=r, seed=0).id, a, r, 0) for a, r in points]
        return Scored(models[0], places, models[1:])

    return build
