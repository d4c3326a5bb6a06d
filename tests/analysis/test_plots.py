import json
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import table as tables
from analysis.fit import fit_table
from analysis.plot_data import (
    languages_info,
    objective_info,
    scientific,
    short,
    slices_info,
    training_info,
)
from analysis.plots import draw_languages, draw_objective, figures, write_figures

NAMES = ["objective", "slices", "languages", "training"]


def texts(figure: Figure) -> str:
    """Everything that the figure says, as it is drawn."""
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_objective_figure_shows_surface_trials_curve_and_winner(fitted):
    info = objective_info(fitted)
    assert info.mean.shape == (len(info.almr), len(info.lr)) == (25, 61)
    assert len(info.cells) == 30
    assert info.diverged.to_numpy().tolist() == [[0.5, 3e-3]]
    assert info.unused.to_numpy().tolist() == [[0.7, 3e-3], [0.9, 3e-3]]
    assert info.winner == fitted.file.winner
    assert info.curve == fitted.file.curve


def test_levels_hold_every_colour_and_are_finest_at_the_minimum(fitted):
    info = objective_info(fitted)
    steps = np.diff(info.levels)
    assert info.levels[0] == pytest.approx(min(info.mean.min(), info.cells["objective"].min()))
    assert info.levels[-1] == pytest.approx(max(info.mean.max(), info.cells["objective"].max()))
    assert (steps > 0).all()
    assert steps[0] < steps[-1] / 20


def test_seeds_of_one_cell_are_averaged(fitted, make_record):
    losses = {"original": 3.0, "additional": 4.0}, {"original": 3.2, "additional": 4.4}
    table = tables.from_records([make_record(0.5, 1e-4, seed, loss=loss) for seed, loss in enumerate(losses)])
    cells = objective_info(replace(fitted, table=table)).cells
    assert cells.to_numpy().tolist() == [[0.5, 1e-4, pytest.approx(3.65)]]


def test_a_slice_is_the_surface_at_its_almr_with_band_trials_and_best_lr(fitted):
    info = slices_info(fitted)
    assert [one.almr for one in info.slices] == [0.1, 0.3, 0.5, 0.7, 0.9]
    middle = info.slices[2]
    mean, sd = fitted.objective.predict([0.5] * len(middle.lr), middle.lr)
    assert middle.mean == pytest.approx(mean)
    assert middle.high - middle.low == pytest.approx(2 * 1.6449 * sd, rel=1e-3)
    assert len(middle.trials) == 6
    assert middle.diverged == [3e-3]
    assert info.slices[0].diverged == []
    assert np.log(middle.best.lr / 1.1e-4) == pytest.approx(0, abs=0.1)
    assert middle.best.lr_low < middle.best.lr < middle.best.lr_high


def test_the_languages_figure_holds_trials_base_model_and_predicted_winner(fitted):
    info = languages_info(fitted)
    assert len(info.trials) == 30
    assert info.base == {"original": 3.4, "additional": 5.7}
    for language, truth in (("original", 3.245), ("additional", 3.845)):
        mean, interval = info.winner[language]
        assert mean == pytest.approx(truth, abs=0.02)
        assert interval.low < mean < interval.high
    assert info.labels == {"original": "original", "additional": "additional"}


def test_trade_offs_are_the_trials_that_none_beats_in_both_languages(fitted, make_record):
    losses = [(3.0, 5.0), (3.1, 4.0), (3.1, 4.5), (3.2, 4.2), (3.5, 3.9), (3.5, 3.9), (3.6, 3.9)]
    records = [make_record(0.1 * i, 1e-4, loss={"original": a, "additional": b}) for i, (a, b) in enumerate(losses)]
    trials = languages_info(replace(fitted, table=tables.from_records(records))).trials
    assert trials["optimal"].tolist() == [True, True, False, False, True, True, False]


def test_a_base_model_that_was_not_measured_is_left_out(fitted):
    info = languages_info(replace(fitted, table=fitted.table.assign(base_loss_original=None)))
    assert info.base is None
    assert "base model" not in texts(draw_languages(info))


def test_training_curves_are_as_logged(fitted, tmp_path):
    good, empty, cut = fitted.table["trial_id"][:3]
    diverged = fitted.table.loc[fitted.table["status"] == "diverged", "trial_id"].item()
    lines = [{"step": s, "tokens": 100 * s, "loss": 4.0 - s} for s in (1, 2)]
    evaluation = {"step": 2, "tokens": 200, "held_out": {"original": 3.0}}
    logs = {
        good: "\n".join(json.dumps(line) for line in [evaluation, *lines, evaluation]),
        empty: "",
        cut: '{"step": 1, "tokens": 100, "loss": 3.5}\n{"step": 2, "tok',
        diverged: '{"tokens": 100, "loss": 90}\n{"tokens": 200, "loss": NaN}\n{"tokens": 300, "loss": null}\n"x"\n',
    }
    for trial, text in logs.items():
        (tmp_path / "trials" / trial).mkdir(parents=True)
        (tmp_path / "trials" / trial / "metrics.jsonl").write_text(text)
    info = training_info(fitted, tmp_path)
    first, second, third = info.curves
    assert (first.almr, first.lr, first.status) == (0.1, 1e-5, "complete")
    assert (first.tokens.tolist(), first.loss.tolist()) == ([100, 200], [3.0, 2.0])
    assert second.loss.tolist() == [3.5]
    assert third.status == "diverged"
    assert third.loss[0] == 90
    assert math.isnan(third.loss[1])
    # A diverged trial may leave the frame, which is made for the others.
    assert 1.5 < info.lowest < 2.0
    assert 3.5 < info.highest < 4.0


def test_every_figure_is_written(tmp_path, fitted):
    paths = write_figures(fitted, tmp_path)
    assert paths == [tmp_path / "figures" / f"{name}.png" for name in NAMES]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in paths)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "grid",
    [
        {"almrs": (0.4,), "seeds": (0, 1)},
        {"lrs": (1e-4,), "seeds": (0, 1)},
        {"almrs": (0.0, 1.0), "lrs": (1e-5, 1e-4, 1e-3), "seeds": (0, 1)},
    ],
    ids=["one ALMR", "one LR", "two ALMRs"],
)
def test_small_grids_are_drawn(grid, make_bowl, make_study):
    fit = fit_table(make_study(), tables.from_records(make_bowl(**grid)))
    drawn = figures(fit, None)
    assert list(drawn) == NAMES
    assert "winner with its 90% intervals" in texts(drawn["objective"])
    assert "no training curves were logged" in texts(drawn["training"])


def test_mostly_diverged_with_one_weight_of_zero_is_drawn(make_bowl, make_study, make_record):
    diverged = [make_record(a, lr, status="diverged") for a in (0.02, 0.5, 0.98) for lr in (1e-2, 1e-1, 1.0)]
    study = make_study(objective={"weights": {"original": 1, "additional": 0}})
    fit = fit_table(
        study, tables.from_records(make_bowl(almrs=(0.3, 0.5), lrs=(1e-5, 1e-4, 1e-3), seeds=(0, 1)) + diverged)
    )
    drawn = figures(fit, None)
    low, high = drawn["objective"].axes[0].get_ylim()
    assert low < 1e-5
    assert high > 1.0
    assert "diverged" in texts(drawn["slices"])


@pytest.mark.filterwarnings("error")
def test_an_interval_beside_its_mean_is_drawn(fitted):
    info = objective_info(fitted)
    beside = info.winner.model_copy(update={"lr": info.winner.lr_interval.high * 2})
    assert "winner" in texts(draw_objective(info._replace(winner=beside)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("language", "shown"), [("$Fran\\c{}ais$", "$Fran\\c{}ais$: held-out"), ("中文", "additional: held-out")]
)
def test_a_language_is_written_as_it_is_or_by_its_role(fitted, language, shown):
    info = languages_info(fitted)
    figure = draw_languages(info._replace(labels=info.labels | {"additional": language}))
    assert texts(figure).replace(r"\$", "$").find(shown) >= 0
    assert not figure.axes[0].yaxis.label._preprocess_math(figure.axes[0].get_ylabel())[1]


def test_a_users_own_style_does_not_change_a_figure(fitted):
    before = figures(fitted, None)["languages"].axes[0].title.get_fontname()
    with matplotlib.rc_context({"font.family": "monospace", "axes.facecolor": "black"}):
        axes = figures(fitted, None)["languages"].axes[0]
    assert axes.title.get_fontname() == before == "DejaVu Sans"
    assert axes.get_facecolor() == (1, 1, 1, 1)


def test_numbers_as_text():
    assert [scientific(lr) for lr in (1e-4, 3.16e-5, 0.02, 9.99e-4, 1.0)] == ["1e-4", "3.2e-5", "2e-2", "1e-3", "1e0"]
    assert [short(tokens) for tokens in (0, 500, 2_048, 1.5e9, 15e12)] == ["0", "500", "2.05k", "1.5B", "15T"]
