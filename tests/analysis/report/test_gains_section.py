"""The section of a run's report that shows its table of gains."""

from __future__ import annotations

from pathlib import Path

import node
from pages import Page
from samples import make_study

from analysis.fit_file.scores import Change
from analysis.fit_file.winner import Interval
from analysis.report import gains as pages
from analysis.report import page
from analysis.scores.gains.gains_file import Gain, GainsFile, GainsModel, GainsRow, ModelScore
from analysis.table import table as tables
from sweep.study.files.layout import RunFiles

WORSE = Change(value=-0.2, interval=Interval(low=-0.3, high=-0.1), n=50, p_value=1e-3, p_corrected=1e-3)
FOUND = GainsFile(
    level=0.9,
    comparisons=1,
    models=(GainsModel(label="base", named="a"), GainsModel(label="<b>sft</b>", named="b")),
    rows=(
        GainsRow(
            name="mmlu",
            kind="task",
            group="English",
            tasks=("mmlu",),
            questions=50,
            scores={"base": ModelScore(value=0.6), "<b>sft</b>": ModelScore(value=0.4)},
            gains=(Gain(model="<b>sft</b>", against="base", change=WORSE, verdict="worse", won=1, lost=11),),
        ),
    ),
)


def report(folder: Path) -> Page:
    return Page(page.render_unfitted(page.Unfitted(make_study(), tables.empty(), "no trial has finished"), folder))


def test_a_report_shows_the_gains_that_the_run_has(tmp_path: Path) -> None:
    assert "gains" not in report(tmp_path).ids
    gains = RunFiles(tmp_path).gains
    gains.mkdir()
    (gains / "gains.json").write_text(FOUND.model_dump_json())
    shown = report(tmp_path)
    assert "gains" in shown.ids
    assert ["mmlu", "50", "0.600", "0.400 -"] in shown.rows
    assert "mmlu: <b>sft</b> against base -0.200 (-0.300 to -0.100); 11 questions lost, 1 won" in shown.text


def test_a_damaged_table_is_a_line_of_the_page(tmp_path: Path) -> None:
    gains = RunFiles(tmp_path).gains
    gains.mkdir()
    (gains / "gains.json").write_text('{"level":')
    shown = report(tmp_path).text
    assert "gains.json: not a table of gains (not JSON" in shown
    assert "write it anew with almr scores" in shown


def test_the_page_of_gains_is_whole_without_its_script_which_can_be_parsed() -> None:
    shown = Page(pages.render(FOUND))
    assert ["mmlu", "50", "0.600", "0.400 -"] in shown.rows
    assert shown.tags.count("script") == 1
    assert not shown.links
    assert "default-src 'none'" in shown.policy
    assert node.accepts(pages.script()) == ""
