import json
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.figures.data import slices
from analysis.figures.data.languages import front_info, languages_info
from analysis.figures.data.objective import objective_info
from analysis.figures.data.slices import slices_info
from analysis.figures.data.training import training_info
from analysis.figures.drawing import figures, fonts, write_figures
from analysis.figures.drawing.languages import draw_front, draw_languages
from analysis.figures.drawing.objective import draw_objective
from analysis.figures.drawing.slices import draw_slices
from analysis.fit.fit import Fit, fit_study, fit_table
from analysis.fit_file.winner import Interval
from analysis.table import table as tables
from sweep.study import Objective
from sweep.study import numbers as formats

NAMES = ["objective", "slices", "languages", "front"]


@pytest.fixture(scope="module")
def guarded(make_bowl, make_study) -> Fit:
    """The bowl under a guard of 2 %, 3.468 nats: the higher the ALMR, the fewer LRs about the best one keep it."""
    return fit_study(make_study(objective={"forgetting_guard_percent": 2}), tables.from_records(make_bowl()))


@pytest.fixture(scope="module")
def combined(make_bowl) -> Fit:
    """A table of the user's own with one loss for both languages."""
    table = tables.from_records(make_bowl())
    total = (table["loss_original"] + table["loss_additional"]) / 2
    table = table.assign(loss_total=total, loss_original=math.nan, loss_additional=math.nan)
    return fit_table(table, Objective(), "mine")


def texts(figure: Figure) -> str:
    """Everything that the figure says, as it is drawn."""
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_objective_figure_shows_surface_trials_lines_and_winner(fitted):
    info = objective_info(fitted)
    assert info.mean.shape == (len(info.almr), len(info.lr)) == (97, 161)
    assert info.mean[::4, ::4] == pytest.approx(fitted.optima.mean)  # smooth: four steps for one of the fit
    between = fitted.surfaces["original"].predict([info.almr[42]], [info.lr[71]])[0]
    between = (between + fitted.surfaces["additional"].predict([info.almr[42]], [info.lr[71]])[0]) / 2
    assert info.mean[42, 71] == pytest.approx(between, abs=1e-4)
    assert info.quantity == "weighted held-out loss"
    assert len(info.cells) == 30
    assert info.cells["allowed"].all()
    assert info.margin is None
    assert info.diverged.to_numpy().tolist() == [[0.5, 3e-3]]
    assert info.unused.to_numpy().tolist() == [[0.7, 3e-3], [0.9, 3e-3]]
    assert info.winner == fitted.file.winner
    assert info.curve == [fitted.file.curve]
    assert info.region == [fitted.file.region.rows]


def test_the_lines_cross_at_the_winner_and_the_region_is_around_it(fitted):
    info = objective_info(fitted)
    [line] = info.best_almr
    almr = np.interp(np.log(info.winner.lr), [np.log(p.lr) for p in line], [p.almr for p in line])
    assert almr == pytest.approx(info.winner.almr, abs=0.01)
    row = min(info.region[0], key=lambda row: abs(row.almr - info.winner.almr))
    assert row.lr_low < info.winner.lr < row.lr_high


def test_the_divergence_edge_is_drawn_only_where_trials_diverged(fitted, combined):
    info = objective_info(fitted)
    assert [almr for almr, _ in info.edge] == fitted.lattice.almr.tolist()
    at_winner = np.interp(info.winner.almr, *np.array(info.edge).T)
    assert at_winner == pytest.approx(fitted.file.divergence.lr, rel=0.02)
    assert "divergence edge" in texts(draw_objective(info))
    assert objective_info(combined).edge == []
    assert "divergence edge" not in texts(draw_objective(objective_info(combined)))


def test_a_region_in_two_parts_is_not_bridged(fitted):
    region = fitted.file.region
    rows = [row for i, row in enumerate(region.rows) if i != 5]
    file = fitted.file.model_copy(update={"region": region.model_copy(update={"rows": rows})})
    info = objective_info(replace(fitted, file=file))
    assert info.region == [rows[:5], rows[5:]]


def test_a_best_almr_that_is_an_end_of_the_range_is_no_line(fitted):
    points = [p.model_copy(update={"at_edge": 3 <= i < 6}) for i, p in enumerate(fitted.file.best_almr)]
    info = objective_info(replace(fitted, file=fitted.file.model_copy(update={"best_almr": points})))
    assert info.best_almr == [points[:3], points[6:]]


def test_under_a_guard_what_it_forbids_is_known_and_hides_nothing_else(guarded):
    info = objective_info(guarded)
    assert info.quantity == "additional: held-out loss"
    bound = guarded.file.guard.bound
    true = guarded.table.groupby(["almr", "lr"])["loss_original"].mean().reset_index()
    assert (info.cells["allowed"] == (true["loss_original"] <= bound)).all()
    assert 0 < info.cells["allowed"].sum() < len(info.cells)
    of_fit = guarded.optima.mean[::3, ::3]  # under a guard, a fit has three steps for one
    forbidden = ~np.isfinite(of_fit)
    assert ((info.margin[::4, ::4] < 0) == forbidden).all()
    assert info.mean[::4, ::4][~forbidden] == pytest.approx(of_fit[~forbidden])
    # The colours are those of what is allowed: what is not is hidden.
    assert info.levels[-2] < max(of_fit[~forbidden].max(), info.cells.loc[info.cells["allowed"], "loss"].max())
    shown = texts(draw_objective(info))
    assert "over a guard" in shown
    assert "trial over the guard" in shown


def test_levels_hold_every_colour_and_are_finest_at_the_minimum(fitted):
    info = objective_info(fitted)
    steps = np.diff(info.levels)
    assert info.levels[0] == pytest.approx(min(info.mean.min(), info.cells["loss"].min()))
    assert info.levels[-1] >= max(info.mean.max(), info.cells["loss"].max())
    assert {f"{level - info.levels[0]:.0e}"[0] for level in info.levels[1:]} == {"1", "2", "5"}
    assert (steps > 0).all()
    assert steps[0] < steps[-1] / 20


def test_seeds_of_one_cell_are_averaged(fitted, make_record):
    losses = {"original": 3.0, "additional": 4.0}, {"original": 3.2, "additional": 4.4}
    table = tables.from_records([make_record(0.5, 1e-4, seed, loss=loss) for seed, loss in enumerate(losses)])
    cells = objective_info(replace(fitted, table=table)).cells
    assert cells.to_numpy().tolist() == [[0.5, 1e-4, pytest.approx(3.65), True]]


def test_a_slice_is_the_surface_at_its_almr_with_band_trials_and_best_lr(fitted):
    info = slices_info(fitted)
    assert [one.almr for one in info.slices] == [0.1, 0.3, 0.5, 0.7, 0.9]
    middle = info.slices[2]
    at = [0.5] * len(middle.lr), middle.lr
    (mean, sd), (other, other_sd) = (fitted.surfaces[name].predict(*at) for name in ("original", "additional"))
    assert middle.mean == pytest.approx((mean + other) / 2)
    assert middle.high - middle.low == pytest.approx(1.6449 * np.hypot(sd, other_sd), rel=1e-3)
    assert len(middle.trials) == 6
    assert middle.diverged == [3e-3]
    assert info.slices[0].diverged == []
    assert middle.allowed.all()
    assert np.log(middle.best.lr / 1.1e-4) == pytest.approx(0, abs=0.1)
    assert middle.best.lr_low < middle.best.lr < middle.best.lr_high


def test_the_best_lr_of_a_slice_lies_on_the_curve(fitted):
    curve = fitted.file.curve
    for one in slices_info(fitted).slices:
        expected = np.exp(np.interp(one.almr, [p.almr for p in curve], [np.log(p.lr) for p in curve]))
        assert one.best.lr == pytest.approx(expected)


def test_a_figure_of_some_slices_says_of_how_many(fitted, monkeypatch):
    assert "tried ALMRs" not in texts(draw_slices(slices_info(fitted)))
    monkeypatch.setattr(slices, "MOST", 3)
    info = slices_info(fitted)
    assert [one.almr for one in info.slices] == [0.1, 0.5, 0.9]
    assert "(3 of 5 tried ALMRs, evenly chosen)" in texts(draw_slices(info))


def test_a_slice_under_a_guard_says_where_it_holds(guarded):
    info = slices_info(guarded)
    for one in info.slices:
        mean, sd = guarded.surfaces["original"].predict([one.almr] * len(one.lr), one.lr)
        assert (mean[one.allowed] < guarded.file.guard.bound).all()
        assert (mean + 1.2816 * sd > guarded.file.guard.bound)[~one.allowed].all()
        assert one.best is None or one.allowed[np.abs(np.log(one.lr / one.best.lr)).argmin()]
    shares = [one.allowed.mean() for one in info.slices]
    assert shares[0] > 0.3
    assert shares[-1] < 0.3
    assert "over a guard" in texts(draw_slices(info))


def test_a_slice_where_the_guard_holds_nowhere_has_no_best_lr(guarded):
    file = guarded.file.model_copy(update={"curve": [p for p in guarded.file.curve if p.almr < 0.6]})
    assert [one.best is None for one in slices_info(replace(guarded, file=file)).slices] == [False] * 3 + [True] * 2


def test_a_few_trials_near_divergence_leave_the_frame_rather_than_flatten_the_bowl(fitted):
    table = fitted.table.copy()
    lost = table.index[(table["lr"] == table["lr"].min()) & (table["almr"] == 0.1)]
    table.loc[lost, ["loss_original", "loss_additional"]] = 30.0
    info = slices_info(replace(fitted, table=table))
    low, high = info.frame
    assert low < min(one.low.min() for one in info.slices)
    assert high < 6
    assert "trial above the frame" in texts(draw_slices(info))
    assert "trial above the frame" not in texts(draw_slices(slices_info(fitted)))


def test_a_table_of_many_almrs_gets_a_page_of_slices(make_bowl, make_study):
    almrs = tuple(np.linspace(0.05, 0.95, 30).round(3))
    info = slices_info(fit_study(make_study(), tables.from_records(make_bowl(almrs=almrs, lrs=(1e-5, 1e-4, 1e-3)))))
    assert len(info.slices) == 12
    assert (info.slices[0].almr, info.slices[-1].almr) == (almrs[0], almrs[-1])


def test_the_languages_figure_holds_trials_base_model_front_and_predicted_winner(fitted):
    info = languages_info(fitted)
    assert len(info.trials) == 30
    assert info.base == {"original": 3.4, "additional": 5.7}
    for language, truth in (("original", 3.245), ("additional", 3.845)):
        loss = info.winner[language]
        assert loss.mean == pytest.approx(truth, abs=0.02)
        assert loss.interval.low < loss.mean < loss.interval.high
    assert info.labels == {"original": "original", "additional": "additional"}
    assert info.front == fitted.file.front
    assert info.bound is None
    assert "guard" not in texts(draw_languages(info))


def test_the_frame_of_the_languages_holds_what_matters_and_counts_the_rest(guarded):
    table = guarded.table.copy()
    table.loc[0, ["loss_original", "loss_additional"]] = 20.0
    info = languages_info(replace(guarded, table=table))
    assert info.bound == guarded.file.guard.bound
    for name, (low, high) in info.frame.items():
        best = info.trials.loc[info.trials["optimal"], name]
        shown = [*best, info.base[name], *(p.losses[name] for p in info.front), info.winner[name].mean]
        assert low < min(shown) <= max(shown) < high < 20
    assert info.frame["original"][0] < info.bound < info.frame["original"][1]
    outside = [
        not all(low <= row[n] <= high for n, (low, high) in info.frame.items()) for _, row in info.trials.iterrows()
    ]
    assert info.outside == sum(outside) >= 1
    shown = texts(draw_languages(info))
    assert f"{info.outside} outside" in shown
    assert "guard" in shown


def test_the_front_figure_follows_the_winner_along_the_weight(fitted, guarded):
    figure = draw_front(front_info(fitted))
    for axes, field, tried in zip(figure.axes, ("almr", "lr"), ((0.1, 0.9), (1e-5, 1e-3)), strict=True):
        winner, low, high, own = axes.lines
        assert list(winner.get_xdata()) == [point.weight for point in fitted.file.front]
        assert list(winner.get_ydata()) == [getattr(point, field) for point in fitted.file.front]
        assert (low.get_ydata()[0], high.get_ydata()[0]) == pytest.approx(tried)
        assert own.get_xdata()[0] == 0.5
    assert "weight of this fit" in texts(figure)
    assert "weight of this fit" not in texts(draw_front(front_info(guarded)))


def test_trade_offs_are_the_trials_that_none_beats_in_both_languages(fitted, make_record):
    losses = [(3.0, 5.0), (3.1, 4.0), (3.1, 4.5), (3.2, 4.2), (3.5, 3.9), (3.5, 3.9), (3.6, 3.9)]
    records = [make_record(0.1 * i, 1e-4, loss={"original": a, "additional": b}) for i, (a, b) in enumerate(losses)]
    trials = languages_info(replace(fitted, table=tables.from_records(records))).trials
    assert trials["optimal"].tolist() == [True, True, False, False, True, True, False]


def test_a_base_model_that_was_not_measured_is_left_out(fitted):
    info = languages_info(replace(fitted, table=fitted.table.assign(base_loss_original=None)))
    assert info.base is None
    assert max(info.frame["additional"]) < 5
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
    assert third.loss.tolist() == [90]  # NaN is left out
    # A diverged trial may leave the frame, which is made for the others.
    assert 1.5 < info.lowest < 2.0
    assert 3.5 < info.highest < 4.0


def test_a_users_own_table_has_no_training_curves(fitted, tmp_path):
    folder = tmp_path / "trials" / fitted.table["trial_id"][0]
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"tokens": 100, "loss": 3.5}\n')
    assert len(training_info(fitted, tmp_path).curves) == 1
    assert training_info(replace(fitted, study=None), tmp_path).curves == []


def test_every_figure_is_written(tmp_path, make_bowl, make_study, write_run):
    run = write_run(tmp_path, make_bowl(), make_study())
    paths = write_figures(fit_study(make_study(), tables.read_run(run)), run)
    names = [*NAMES, "training"]
    assert paths == [run / "figures" / f"{name}.{kind}" for name in names for kind in ("png", "csv")]
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(path.name for path in paths)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths if path.suffix == ".png")
    objective = pd.read_csv(run / "figures" / "objective.csv")
    drawn = objective["what"].value_counts()
    assert (drawn["surface"], drawn["trial"], drawn["winner"]) == (25 * 41, 30, 1)


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
@pytest.mark.parametrize("objective", [{}, {"forgetting_guard_percent": 3}], ids=["weights", "guard"])
def test_small_grids_are_drawn(grid, objective, make_bowl, make_study):
    fit = fit_study(make_study(objective=objective), tables.from_records(make_bowl(**grid)))
    drawn = figures(fit, None)
    assert list(drawn) == NAMES
    said = texts(drawn["objective"])
    assert "winner, 90 % intervals" in said
    assert ("best LR at each ALMR" in said) == (len(fit.lattice.almr) > 1 and len(fit.lattice.lr) > 1)


def test_one_loss_for_both_languages_has_no_trade_off(combined):
    drawn = figures(combined, None)
    assert list(drawn) == ["objective", "slices"]
    info = objective_info(combined)
    assert info.quantity == "held-out loss"
    assert info.cells["loss"].to_numpy() == pytest.approx(combined.table.sort_values(["almr", "lr"])["loss_total"])


def test_a_guard_that_holds_nowhere_is_drawn(make_bowl, make_study):
    fit = fit_study(
        make_study(objective={"forgetting_guard_percent": 0}),
        tables.from_records(make_bowl()).assign(base_loss_original=2.0),
    )
    drawn = figures(fit, None)
    assert list(drawn) == NAMES
    assert "trial over the guard" in texts(drawn["slices"])


def test_mostly_diverged_with_one_weight_of_zero_is_drawn(make_bowl, make_study, make_record):
    diverged = [make_record(a, lr, status="diverged") for a in (0.02, 0.5, 0.98) for lr in (1e-2, 1e-1, 1.0)]
    study = make_study(objective={"weights": {"original": 1, "additional": 0}})
    fit = fit_study(
        study, tables.from_records(make_bowl(almrs=(0.3, 0.5), lrs=(1e-5, 1e-4, 1e-3), seeds=(0, 1)) + diverged)
    )
    drawn = figures(fit, None)
    low, high = drawn["objective"].axes[0].get_ylim()
    assert low < 1e-5
    assert high > 1.0
    assert "original: held-out loss" in texts(drawn["objective"])
    assert "diverged" in texts(drawn["slices"])


@pytest.mark.filterwarnings("error")
def test_an_interval_beside_its_mean_is_drawn(fitted):
    info = objective_info(fitted)
    beside = info.winner.model_copy(update={"lr_interval": Interval(low=1e-5, high=2e-5)})
    assert "winner" in texts(draw_objective(info._replace(winner=beside)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("$Fran\\c{}ais$", "$Fran\\c{}ais$: held-out"),
        ("中文", "Chinese: held-out"),
        ("\u16a0\u2c7f", "additional: held-out"),
    ],
)
def test_a_language_is_written_as_it_is_or_in_latin_letters_or_by_its_role(fitted, language, shown, monkeypatch):
    monkeypatch.setattr(fonts, "_found", lambda missing: None)  # as on a machine without other fonts
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
    lrs = {1e-4: "1e-4", 3.16e-5: "3.16e-5", 0.02: "2e-2", 9.996e-4: "1e-3", 1.0: "1e0"}
    assert [formats.lr(lr) for lr in lrs] == list(lrs.values())
    tokens = {0: "0", 500: "500", 2_048: "2.05k", 1.5e9: "1.5B", 15e12: "15T"}
    assert [formats.tokens(count) for count in tokens] == list(tokens.values())
    assert [formats.percent(0.912), formats.percent(0.0066, 1)] == ["91 %", "0.7 %"]
    writers = (formats.lr, formats.tokens, formats.number, formats.almr, formats.whole, formats.percent)
    assert {write(missing) for write in writers for missing in (None, math.nan)} == {"–"}
