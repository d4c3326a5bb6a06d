"""The text of a fit: the verdict first, then numbers of one format, in the user's own names of the languages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as Namespace

import pandas as pd
import pytest
from searches import LOW, Driver, searching

from analysis.fit.fit import Fit
from analysis.fit_file.curve import Coupling, DivergenceEdge
from analysis.fit_file.winner import Interval
from sweep.store.run import Run
from sweep.verbs.results import fitting
from sweep.verbs.results.verdict import verdict


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit of 5 ALMRs and 3 LRs, all below the best one."""
    folder: Path = tmp_path_factory.mktemp("low") / "small"
    study = searching(LOW, strategy="grid", trials=None)
    corpora = study.corpora
    named = corpora.model_copy(
        update={
            "original": corpora.original.model_copy(update={"language": "Welsh"}),
            "additional": corpora.additional.model_copy(update={"language": "Maori"}),
        }
    )
    Driver(study.model_copy(update={"corpora": named}), folder).go()
    return fitting.fit(Run(folder))


def lines(fit: Fit, **changes: object) -> list[str]:
    return verdict(replace(fit, file=fit.file.model_copy(update=changes))).splitlines()


def test_a_refusal_comes_before_the_winner(refused: Fit) -> None:
    text = lines(refused)
    assert text[0].startswith("REFUSED (")
    [winner] = [line for line in text if line.startswith("winner")]
    assert winner.startswith("winner (refused): ALMR 0.")
    assert lines(refused, refusals=[])[0] == winner.replace(" (refused)", "")


def test_only_trials_that_were_fitted_count(refused: Fit) -> None:
    """Left-out rows of no known status, as of a table, are not among the complete ones."""
    counts = refused.file.trials.model_copy(update={"complete": 12, "diverged": 2, "failed": 1})
    for lost, said in ((0, "based on 12 complete"), (1, "based on 11 of 12 complete")):
        status = ["complete"] * 12 + ["diverged"] * 2 + ["failed", "odd"]
        excluded = ["not in the study's grid"] * lost + [None] * (12 - lost) + ["lost"] * 4
        table = pd.DataFrame({"status": status, "excluded": excluded, "seed": 0})
        text = lines(replace(refused, table=table), trials=counts.model_copy(update={"excluded": lost + 4}))
        assert f"{said} trials, 2 diverged, 1 failed" in text


@pytest.mark.parametrize(
    ("seeds", "alone", "said"), [((0,), None, True), ((3,), "almr", True), ((0, 1), None, False), ((0,), "lr", False)]
)
def test_an_almr_from_one_seed_says_so(refused: Fit, seeds: tuple[int, ...], alone: str | None, said: bool) -> None:
    table = refused.table.assign(seed=[seeds[i % len(seeds)] for i in range(len(refused.table))])
    text = lines(replace(refused, table=table), alone=alone)
    assert any(line.startswith("all trials have one seed") for line in text) is said


def test_a_second_seed_that_was_not_fitted_does_not_count(refused: Fit) -> None:
    other = refused.table["seed"].where(refused.table.index > 0, 1)
    excluded = refused.table["excluded"].astype(object).where(refused.table.index > 0, "failed: lost")
    assert replace(refused, table=refused.table.assign(seed=other, excluded=excluded)).one_seed
    assert not replace(refused, table=refused.table.assign(seed=other)).one_seed


def test_scores_of_a_language_have_its_name(refused: Fit) -> None:
    names = ("cloze_additional", "original", "cmmlu_additional")
    rows = [Namespace(name=name, verdict="better", change=Namespace(value=0.5)) for name in names]
    scores = Namespace(rows=rows, winner_trial=Namespace(almr=0.5, lr=1e-3), comparisons=3, guards=())
    text = "\n".join(lines(refused, scores=scores))
    assert "better Maori cloze +0.500, Welsh +0.500, cmmlu_additional +0.500" in text


def test_languages_have_the_users_names_and_numbers_one_format(refused: Fit) -> None:
    text = "\n".join(lines(refused, refusals=[], warnings=[]))
    assert "the loss of Welsh (weight 0.5) and Maori (weight 0.5)" in text
    assert "\nWelsh: noise 0." in text
    assert "original" not in text
    assert "additional" not in text
    assert re.search(r"LR \de-5 \(", text)
    assert not re.search(r"e-0\d", text)  # 4e-5, never 4e-05
    assert not re.search(r"\d%", text)  # 90 %, never 90%


@pytest.mark.parametrize(
    ("coupling", "expected"),
    [
        ({}, "coupling: the best LR at ALMR 0.60 is 2.7 x that at ALMR 0.10 (p = 0.04); tune the two together"),
        (
            {"straight": False},
            "ALMR 0.10 (p = 0.04), and the curve between them is not straight; tune the two together",
        ),
        (
            {"interval": Interval(low=-1, high=3)},
            "coupling: none found; the best LR at ALMR 0.60 is 2.7 x that at ALMR 0.10 (p = 0.04)",
        ),
        ({"p_value": 1e-9}, "that at ALMR 0.10 (p at most 1e-09)"),
        ({"slope": -2.0}, "the best LR at ALMR 0.60 is 0.37 x that at ALMR 0.10 (p = 0.04)"),
    ],
)
def test_the_coupling_is_a_factor_over_the_almrs_it_was_seen_at(
    refused: Fit, coupling: dict[str, object], expected: str
) -> None:
    found = Coupling(
        form="ALMR",
        slope=2.0,
        interval=Interval(low=1, high=3),
        probability=0.99,
        p_value=0.04,
        straight=True,
        almr_low=0.1,
        almr_high=0.6,
    )
    [line] = [line for line in lines(refused, coupling=found.model_copy(update=coupling)) if "coupling: " in line]
    assert expected in line


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        ((0, 4e-5, 8.8), "divergence: none up to LR 4e-5, 8.8 x the winner's"),
        ((3, 4e-5, 8.8), "divergence: from about LR 4e-5, 8.8 x the winner's"),
        ((3, None, None), "divergence: 3 trials diverged, which does not bound the LR"),
    ],
)
def test_where_training_diverges_is_an_lr_and_a_factor(
    refused: Fit, edge: tuple[int, float | None, float | None], expected: str
) -> None:
    trials, lr, factor = edge
    assert expected in lines(refused, divergence=DivergenceEdge(trials=trials, lr=lr, factor=factor))
