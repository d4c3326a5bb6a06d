"""One hyper-parameter fitted alone: tables of one ALMR, of an unknown one, or of one LR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pages import Page

from analysis.figures.data.along import along_info
from analysis.figures.drawing import figures
from analysis.fit.fit import Fit, fit_study, fit_table
from analysis.fit_file.findings import messages
from analysis.fit_file.fit_file import FitFile
from analysis.report.page import render
from analysis.table.table import COLUMNS, from_records, with_status
from sweep.study import InputError
from sweep.verbs.results.verdict import verdict

LRS = 1e-6 * 2.0 ** np.arange(8)


def along_lr(best: float = 3.3, noise: float = 0.0, **columns: object) -> pd.DataFrame:
    """A bowl in ln LR with its minimum at LR 1e-6 * 2^best."""
    random = np.random.default_rng(0)
    loss = 2 + 0.02 * (np.arange(8) - best) ** 2 + noise * random.standard_normal(8)
    table = with_status(pd.DataFrame({"lr": LRS, "loss_total": loss, **columns}))
    return table.reindex(columns=[*COLUMNS, "loss_total"])  # as read_table gives it


@pytest.fixture(scope="module")
def unknown() -> Fit:
    return fit_table(along_lr())


@pytest.fixture(scope="module")
def at_one_almr() -> Fit:
    return fit_table(along_lr(noise=0.003, almr=0.3))


def codes(fit: Fit) -> list[str]:
    return [finding.code for finding in fit.refusals]


def test_the_best_lr_is_found_without_any_almr(unknown: Fit) -> None:
    winner, best = unknown.winner, 1e-6 * 2**3.3
    assert winner.lr_interval.low < best < winner.lr_interval.high
    assert winner.lr == pytest.approx(best, rel=0.02)
    assert codes(unknown) == []
    assert unknown.warnings == []


def test_an_almr_that_is_not_stated_is_nowhere_made_up(unknown: Fit, tmp_path: Path) -> None:
    written = json.loads(unknown.file.model_dump_json())
    assert written["alone"] == "lr"
    assert written["winner"]["almr"] is None
    assert written["winner"]["almr_interval"] == {"low": None, "high": None}
    assert [point["almr"] for point in written["curve"]] == [None]
    assert FitFile.model_validate(written).model_dump_json() == unknown.file.model_dump_json()
    assert "ALMR" not in verdict(unknown)
    assert "ALMR" not in Page(render(unknown, tmp_path)).text


def test_one_almr_for_all_is_named_beside_the_lr(at_one_almr: Fit, tmp_path: Path) -> None:
    first = verdict(at_one_almr).splitlines()[0]
    assert first.startswith("winner: LR ")
    assert first.endswith("), at ALMR 0.30, the only one tried")
    assert at_one_almr.winner.almr == 0.3
    assert "share of additional tokens; the only one tried" in Page(render(at_one_almr, tmp_path)).text


def test_the_fit_does_not_depend_on_the_almr_that_all_trials_have(unknown: Fit) -> None:
    for almr in (0.0, 0.5, 1.0):
        winner = fit_table(along_lr(almr=almr)).winner
        assert (winner.lr, winner.lr_interval) == (unknown.winner.lr, unknown.winner.lr_interval)


def test_one_lr_for_all_gives_the_best_almr() -> None:
    almr = np.linspace(0.1, 0.9, 9)
    fit = fit_table(pd.DataFrame({"almr": almr, "lr": 2e-5, "loss_total": 2 + 0.5 * (almr - 0.42) ** 2}))
    assert fit.winner.almr_interval.low < 0.42 < fit.winner.almr_interval.high
    assert verdict(fit).splitlines()[0].endswith("), at LR 2e-5, the only one tried")
    assert (fit.file.curve, len(fit.file.best_almr)) == ([], 1)


@pytest.mark.parametrize(("best", "word", "beyond"), [(9.0, "highest", True), (-2.0, "lowest", False)])
def test_a_best_lr_at_an_edge_is_refused_with_lrs_beyond_it(best: float, word: str, beyond: bool) -> None:
    fit = fit_table(along_lr(best))
    [edge] = [finding for finding in fit.refusals if finding.code == "edge"]
    assert f", the {word} tried" in edge.message
    assert edge.next
    assert all((trial.lr > LRS[-1]) if beyond else (trial.lr < LRS[0]) for trial in edge.next)
    assert messages([edge])[-1].startswith("Suggested trials (LR): ")


def test_noise_without_a_bowl_is_refused() -> None:
    random = np.random.default_rng(1)
    fit = fit_table(along_lr().assign(loss_total=2 + 0.01 * random.standard_normal(8)))
    assert set(codes(fit)) & {"contradictory", "flat", "edge"}


def test_trials_that_diverged_close_to_the_best_lr_are_refused_by_lr_alone() -> None:
    table = along_lr(4.0)
    lost = ["status", "excluded", "loss_total"]
    table.loc[5:, lost] = "diverged", "diverged: not finite", np.nan
    refused = {finding.code: finding for finding in fit_table(table).refusals}
    assert "trials may diverge from LR" in refused["unsafe"].message
    assert "ALMR" not in " ".join(messages(refused.values()))


def test_suggestions_keep_the_one_almr() -> None:
    fit = fit_table(along_lr(9.0, almr=0.3))
    trials = [trial for finding in (*fit.refusals, *fit.warnings) for trial in finding.next]
    assert trials
    assert {trial.almr for trial in trials} == {0.3}


def test_five_trials_are_the_fewest() -> None:
    with pytest.raises(InputError, match="4 usable trials: a fit of one hyper-parameter needs 5 or more"):
        fit_table(along_lr().iloc[:4])
    few = [finding.message for finding in fit_table(along_lr(2.0).iloc[:5]).warnings if finding.code == "few"]
    assert few == ["5 usable trials are few: intervals are reliable from 8 on"]


def test_replicates_inform_the_noise() -> None:
    random = np.random.default_rng(2)
    twice = pd.concat([along_lr(), along_lr()], ignore_index=True)
    twice["loss_total"] += 0.01 * random.standard_normal(16)
    quiet = fit_table(pd.concat([along_lr(), along_lr()], ignore_index=True))
    noisy = fit_table(twice)
    assert noisy.file.noise["total"] > 3 * quiet.file.noise["total"]
    assert 0.004 < noisy.file.noise["total"] < 0.025


def test_the_figure_shows_the_loss_along_the_one_hyper_parameter(unknown: Fit) -> None:
    info = along_info(unknown)
    assert info
    assert info.name == "lr"
    assert info.best == unknown.winner.lr
    assert (info.low <= info.mean).all()
    assert (info.mean <= info.high).all()
    assert info.x[info.mean.argmin()] == pytest.approx(info.best, rel=0.1)
    assert info.trials["x"].tolist() == LRS.tolist()
    assert list(figures(unknown, None)) == ["along"]


def test_a_study_of_one_almr_is_still_refused(make_bowl: Any, make_study: Any) -> None:
    """Its launch needs an ALMR that was chosen."""
    trials = make_bowl(almrs=(0.5,), seeds=(0, 1))
    fit = fit_study(make_study(), from_records(trials))
    assert "few" in codes(fit)
    assert fit.file.alone is None
