"""A run whose trials were scored, from its files to its report."""

import csv
import io
import json

import pytest
from pages import Page

from analysis.figures.data.scores import scores_info
from analysis.figures.drawing.scores import draw_scores
from analysis.report.page import render
from analysis.scores import files
from analysis.scores.read import read
from analysis.scores.summary import summarise
from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import InputError
from sweep.verbs.results import fitting, verdict

HOSTILE = '<script>alert("x")</script> | `a` [b](c)'
GUARDS = {"guards": [{"group": "Chinese", "at_least_gain": 0.05}, {"group": "English", "at_most_drop": 0.01}]}


def finalist(record):
    return record.almr in (0.3, 0.5) and 3e-5 < record.lr < 4e-4


@pytest.fixture(scope="module")
def run(tmp_path_factory, scored_run, make_study):
    folder = tmp_path_factory.mktemp("run")
    scored_run(folder, make_study(objective=GUARDS), only=finalist, n=400)
    path = folder / "trials" / "almr=0.50_lr=1.58e-04_seed=0" / "record.json"
    record = json.loads(path.read_text())
    record["score_failures"] = {HOSTILE: "no such file: <b>drcd</b>", "scoring": "it hung"}
    path.write_text(json.dumps(record))
    (folder / "base" / "failures.json").write_text('{"gsm8k": "its data are missing"}')
    return folder


@pytest.fixture(scope="module")
def fitted_run(run):
    return fitting.fit(Run(run))


def test_the_tables_are_written_beside_the_fit(run, fitted_run):
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO((run / "scores.csv").read_text()))}
    assert float(rows["ceval"]["change_low"]) > 0.1
    assert rows["ceval"]["verdict"] == "better"
    assert rows["ceval"]["change_n"] == "400"
    assert rows["coin"]["verdict"] == "not distinguishable"
    assert int(rows["coin"]["needed"]) > 400  # a count, without decimals
    assert rows["ceval"]["why_no_optimum"] == "too few trials: 6 have this score, a surface needs 9"
    assert rows[HOSTILE]["change_value"] == rows[HOSTILE]["winner"] == ""
    assert rows["gsm8k"]["why_no_change"] == "its data are missing"
    assert "scoring" not in rows
    text = (run / "scores.md").read_text()
    assert "No scores in 1 of 6 trials: it hung" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in table[: len(rows) + 2]}) == 1
    assert "<script" not in text.replace("\\<", "")
    saved = json.loads((run / "fit.json").read_text())["scores"]
    assert [row["name"] for row in saved["rows"]] == list(rows)


def test_the_report_has_the_table_with_intervals_and_verdicts(run, fitted_run):
    page = Page(render(fitted_run, run))
    found = next(row for row in page.rows if row[0] == "ceval")
    change = next(row.change for row in fitted_run.file.scores.rows if row.name == "ceval")
    assert found[4] == f"{change.value:+.3f} ({change.interval.low:.3f} to {change.interval.high:.3f})"
    assert found[5] == "better"
    hostile = next(row for row in page.rows if row[0] == HOSTILE)
    assert hostile[2:6] == ["–"] * 4
    assert hostile[-1] == "no such file: <b>drcd</b>"
    assert page.tags.count("script") == 3


def test_the_verdict_names_what_changed_and_the_guards(fitted_run):
    text = verdict.verdict(fitted_run)
    assert "against the base model, 7 comparisons (Holm-corrected): better ceval +0." in text
    assert "guards: Chinese has to gain at least 0.05: kept with probability 100 %" in text
    assert "REFUSED (guard): a guard is broken, English may drop by at most 0.01" in text


def test_the_figure_shows_each_change(fitted_run):
    info = scores_info(fitted_run)
    [scale] = info.scales
    assert [one.name for one in scale] == ["ceval", "cmmlu", "arc", "coin", "mmlu", "Chinese", "English"]
    assert [one.decided for one in scale[:2]] == [True, True]
    labels = [label.get_text() for label in draw_scores(info).axes[0].get_yticklabels()]
    assert labels == [one.name for one in scale]


def test_without_questions_the_intervals_are_wider_and_it_is_said(
    fitted_run, tmp_path, scored_run, make_study, bowl_case
):
    scored_run(tmp_path, make_study(), only=finalist, n=400, questions=False)
    scores = summarise(bowl_case(), read(tmp_path, tables.read_run(tmp_path))).file
    both = (scores, fitted_run.file.scores)
    wide, narrow = (next(row.change.interval for row in s.rows if row.name == "ceval") for s in both)
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
    assert "from the two standard errors" in scores.notes[0]


def test_a_run_without_scores_reads_and_writes_nothing_more(tmp_path, write_run, make_bowl, make_study, fitted):
    write_run(tmp_path, make_bowl(), make_study())
    assert read(tmp_path, tables.read_run(tmp_path)) is None
    assert fitted.file.scores is None
    assert files.texts(None) == {}
    assert scores_info(fitted) is None
    assert "scores" not in verdict.verdict(fitted)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("base/scores.json", "{cut", "not JSON"),
        ("base/scores.json", '{"ceval": {"value": "high"}}', "ceval.value"),
        ("base/questions.json", '{"ceval": [1, "x"]}', "ceval.1"),
    ],
)
def test_a_file_that_is_broken_is_named_in_one_line(tmp_path, scored_run, make_study, name, content, said):
    scored_run(tmp_path, make_study(), only=finalist, n=30)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read(tmp_path, tables.read_run(tmp_path))
    assert str(tmp_path / name) in str(error.value)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
