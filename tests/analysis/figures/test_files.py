"""Figures as files of a paper: kinds, sizes, fonts, a style of the user's own, and the data of each."""

from __future__ import annotations

import logging
import re
import warnings

import pytest
from matplotlib import font_manager
from matplotlib.text import Text

from analysis.figures.data.languages import languages_info
from analysis.figures.data.objective import objective_info
from analysis.figures.drawing import DRAW, contents, fonts, style
from analysis.figures.drawing.files import encoded, looking, read_style
from analysis.figures.drawing.languages import draw_languages
from analysis.figures.drawing.objective import draw_objective
from analysis.fit_file.outdated import SUBJECT
from sweep.study import InputError


def tick_labels(axis) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def test_text_stays_text_and_the_same_figure_gives_the_same_bytes(fitted):
    info = objective_info(fitted)
    for kind in ("png", "svg", "pdf"):
        first, second = (encoded(draw_objective(info), kind, SUBJECT.format("0" * 64)) for _ in range(2))
        assert first == second
        assert (SUBJECT.format("0" * 64).encode() in first) == (kind != "png")
        after_another = draw_objective(info)
        encoded(after_another, "pdf" if kind == "png" else "png")
        assert encoded(after_another, kind, SUBJECT.format("0" * 64)) == first
    svg = encoded(draw_objective(info), "svg").decode()
    assert ">ALMR (share of training tokens)</text>" in svg
    assert "<dc:date>" not in svg
    pdf = encoded(draw_objective(info), "pdf")
    assert b"/CIDFontType2" in pdf  # TrueType, which matplotlib calls Type 42
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


def test_a_name_in_another_script_has_its_font_where_the_machine_has_one(fitted):
    if fonts._found(frozenset(map(ord, "中文"))) is None:
        pytest.skip("no font of this machine has Chinese")
    figure = draw_languages(languages_info(fitted)._replace(labels={"original": "English", "additional": "中文"}))
    [label] = [text for text in figure.findobj(Text) if text.get_text().startswith("中文")]
    with warnings.catch_warnings(action="error"):  # matplotlib warns of a missing glyph
        assert encoded(figure, "pdf")
        assert f"{label.get_text()}</text>" in encoded(figure, "svg").decode()
    assert figure.axes[0].xaxis.label.get_fontfamily() == ["sans-serif"]


@pytest.mark.parametrize(("width", "narrow"), [(3.3, True), (6.8, False)])
def test_all_figures_fit_one_and_two_columns(fitted, width, narrow):
    with style.look({"figure.figsize": (width, 1)}):
        drawn = {name: DRAW[name](info) for name, info in contents(fitted, None).items()}
    for name, figure in drawn.items():
        encoded(figure)
        assert figure.get_figwidth() == width, name
        [legend] = figure.legends
        box, page = legend.get_window_extent(), figure.bbox
        assert page.x0 <= box.x0 < box.x1 <= page.x1, name
        assert all(axes.get_window_extent().y1 <= box.y0 for axes in figure.axes), name
        assert all(axes.get_window_extent().width > 0.25 * page.width / len(figure.axes) for axes in figure.axes[:1])
        assert style.is_narrow(figure) is narrow


@pytest.mark.parametrize(
    ("low", "high", "most", "expected", "between"),
    [
        (3e-4, 3e-2, 9, ["5e-4", "1e-3", "2e-3", "5e-3", "1e-2", "2e-2"], []),
        (3e-4, 3e-2, 3, ["1e-3", "1e-2"], [5e-4, 2e-3, 5e-3, 2e-2]),
        (1.5e-4, 6e-4, 3, ["2e-4", "5e-4"], []),
        (1.1e-4, 1.9e-4, 3, ["1.26e-4", "1.66e-4"], []),
    ],
)
def test_lr_ticks_are_at_one_two_and_five(low, high, most, expected, between):
    figure = style.canvas(1)
    axes = figure.subplots()
    axes.set(xscale="log", xlim=(low, high))
    style.lr_ticks(axes.xaxis, most)
    assert tick_labels(axes.xaxis) == expected
    assert list(axes.xaxis.get_minorticklocs()) == pytest.approx(between)
    figure.canvas.draw()
    assert not "".join(text.get_text() for text in axes.xaxis.get_ticklabels(minor=True))


def test_colours_are_also_told_apart_by_shape(fitted):
    drawn = contents(fitted, None)
    with style.applied():
        marks = {
            str(collection.get_paths()[0].vertices.tolist())
            for collection in DRAW["objective"](drawn["objective"]).axes[0].collections
            if collection.get_label() in ("trial", "trial not fitted", "diverged", "winner, 90 % intervals")
        }
    assert len(marks) == 4


def test_a_style_of_the_users_own_replaces_what_it_states(fitted, tmp_path):
    path = tmp_path / "mine.mplstyle"
    path.write_text("figure.figsize: 4, 3  # inches\naxes.labelsize: 11\n\nimage.cmap: cividis\n")
    with looking(read_style(path), path):
        figure = draw_objective(objective_info(fitted))
    assert figure.get_figwidth() == 4
    assert figure.axes[0].xaxis.label.get_fontsize() == 11
    assert figure.axes[0].collections[0].get_cmap().name == "cividis"
    assert draw_objective(objective_info(fitted)).get_figwidth() == 6.8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"axes.labelsise: 3\n", "line 1: matplotlib has no setting 'axes.labelsise'"),
        (b"# mine\nlines.linewidth: wide\n", "Could not convert 'wide' to float"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"figure.figsize: 0, 4\n", "figure.figsize: 0: give 2 to 20 inches"),
        (b"savefig.dpi: 100000\n", "savefig.dpi: 100000: give 20 to 1200 dots per inch"),
        (b"legend.fontsize: 500\n", "legend.fontsize: 500: give 1 to 72 points"),
    ],
)
def test_a_style_that_matplotlib_cannot_use_is_named(tmp_path, text, message, caplog):
    path = tmp_path / "mine.mplstyle"
    path.write_bytes(text)
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match=re.escape(message)) as found:
        read_style(path)
    assert str(found.value).startswith(str(path))
    assert not caplog.records


def test_the_languages_own_names_are_of_scripts_that_the_style_lacks():
    has = set(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
    assert all(any(ord(letter) not in has for letter in name) for name in fonts.IN_LATIN)


def test_the_data_of_every_figure_are_rows_that_say_what_they_are(fitted):
    for name, info in contents(fitted, None).items():
        table = info.table()
        assert len(table), name
        assert table.columns[0] == "what", name
        assert table["what"].notna().all(), name
