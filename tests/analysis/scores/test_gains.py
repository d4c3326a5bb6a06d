"""The table of gains on models whose answers to every question are known."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Page
from scipy.stats import t as student

from analysis.report import gains as pages
from analysis.scores.gains import files, gains_file, model_record, table, text
from analysis.scores.gains.gains_file import Gain, GainsFile, GainsModel, GainsRow
from analysis.scores.gains.model_record import ModelIdentity, ModelRecord, TaskScore
from analysis.scores.gains.table import GainsEntry
from sweep.study import InputError, Score

N = 100
GROUPS = {"cmmlu": "Chinese knowledge", "c3": "Chinese reading", "mmlu": "English knowledge", "gsm8k": "math"}
KEYS = {task: f"key of {task}" for task in (*GROUPS, "own_task")}
ANSWERS = {  # the number of questions that are right, the first ones
    "base": {"cmmlu": 20, "c3": 30, "mmlu": 80, "gsm8k": 50, "own_task": 50},
    "cpt": {"cmmlu": 70, "c3": 60, "mmlu": 40, "gsm8k": 51, "own_task": 50},
    "sft": {"cmmlu": 70, "c3": 60, "mmlu": 78, "gsm8k": 95, "own_task": 50},
}


def score(task: str, right: list[float], **more: Any) -> Score:
    values = np.array(right)
    about = {"version": "1", "prompt_sha256": f"prompt of {task}", "metric": "acc", "group": GROUPS.get(task)}
    stderr = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Score.model_validate({"value": values.mean(), "stderr": stderr, "n": len(right)} | about | more)


def entry(label: str, counts: dict[str, int], reference: bool = False, **more: Any) -> GainsEntry:
    questions = {task: [float(k < count) for k in range(N)] for task, count in counts.items()}
    tasks = {
        task: TaskScore(
            key=KEYS.get(task, task),
            model=f"content of {label}",
            score=(scored := score(task, own, **more)),
            questions=model_record.digest(scored, own),
        )
        for task, own in questions.items()
    }
    identity = ModelIdentity(named=f"/models/{label}", sha256=f"content of {label}", files={})
    model = GainsModel(label=label, named=identity.named, reference=reference, sha256=identity.sha256)
    return GainsEntry(model, ModelRecord(label=label, identity=identity, tasks=tasks), questions)


@pytest.fixture
def chain() -> list[GainsEntry]:
    return [entry(label, counts) for label, counts in ANSWERS.items()]


def row(found: GainsFile, name: str) -> GainsRow:
    return next(one for one in found.rows if one.name == name)


def gain(found: GainsFile, name: str, model: str, against: str) -> Gain:
    return next(one for one in row(found, name).gains if (one.model, one.against) == (model, against))


def test_each_model_is_compared_with_the_first_and_with_the_one_before(chain: list[GainsEntry]) -> None:
    found = table.table(chain, KEYS, {})
    assert {(g.model, g.against) for g in row(found, "mmlu").gains} == {
        ("cpt", "base"),
        ("sft", "base"),
        ("sft", "cpt"),
    }
    assert [one.name for one in found.rows] == ["Chinese", "c3", "cmmlu", "mmlu", "gsm8k", "own_task"]
    assert [one.group for one in found.rows] == ["Chinese"] * 3 + ["English", "mathematics", "other tasks"]
    assert row(found, "Chinese").scores["cpt"].value == pytest.approx(0.65)
    verdicts = {name: gain(found, name, "cpt", "base").verdict for name in ("cmmlu", "mmlu", "gsm8k", "own_task")}
    nothing = "not distinguishable"
    assert verdicts == {"cmmlu": "better", "mmlu": "worse", "gsm8k": nothing, "own_task": nothing}
    assert gain(found, "mmlu", "sft", "cpt").verdict == "better"
    lost = gain(found, "mmlu", "cpt", "base")
    assert (lost.won, lost.lost) == (0, 40)
    assert found.comparisons == 18


def test_a_change_is_the_paired_one_and_its_p_value_is_holms(chain: list[GainsEntry]) -> None:
    found = table.table(chain, KEYS, {})
    apart = np.array([0.0] * 20 + [1.0] * 50 + [0.0] * 30 + [1.0, -1.0])  # with one of each direction added
    se = apart.std() / math.sqrt(len(apart))
    change = gain(found, "cmmlu", "cpt", "base").change
    assert change
    assert change.value == pytest.approx(0.5)
    half = student.ppf(0.95, len(apart) - 1) * se
    assert (change.interval.low, change.interval.high) == pytest.approx((apart.mean() - half, apart.mean() + half))
    assert change.p_value == pytest.approx(2 * student.sf(apart.mean() / se, len(apart) - 1), rel=1e-9)
    every = sorted((g.change for one in found.rows for g in one.gains if g.change), key=lambda c: c.p_value)
    expected, most = [], 0.0
    for place, one in enumerate(every):
        most = max(most, min(1.0, (len(every) - place) * one.p_value))
        expected.append(most)
    assert [one.p_corrected for one in every] == pytest.approx(expected)
    needed = gain(found, "gsm8k", "cpt", "base").needed
    assert needed
    assert needed > N


def test_what_was_lost_is_told_with_its_questions(chain: list[GainsEntry]) -> None:
    found = table.table(chain, KEYS, {})
    worse, *rest = text.lost(found)
    assert worse.startswith("mmlu: cpt against base -0.400 (")
    assert worse.endswith("40 questions lost, 0 won")
    assert rest[-1].startswith("sft against base, not shown to be lost, but up to this much is not ruled out: mmlu 0.0")
    nothing = table.table(
        [chain[0], replace(chain[0], model=chain[0].model.model_copy(update={"label": "same"}))], KEYS, {}
    )
    assert text.lost(nothing)[0] == text.LOST_NOTHING


def test_a_reference_stands_in_the_table_and_in_no_comparison(chain: list[GainsEntry]) -> None:
    other = entry("other", {"mmlu": 90, "cmmlu": 90}, reference=True)
    found = table.table([chain[0], other, chain[2]], KEYS, {})
    assert found.chain == ["base", "sft"]
    assert row(found, "mmlu").scores["other"].value == pytest.approx(0.9)
    assert {(g.model, g.against) for one in found.rows for g in one.gains} == {("sft", "base")}
    assert "other" not in row(found, "Chinese").scores  # of one of its tasks there is none
    assert found.failures["other"] == dict.fromkeys(("c3", "gsm8k", "own_task"), "not scored")
    alone = table.table(chain[:1], KEYS, {})
    assert alone.comparisons == 0
    assert text.intro(alone) == text.NO_CHAIN


def test_scores_of_other_prompts_stand_side_by_side_and_are_not_compared(chain: list[GainsEntry]) -> None:
    other = entry("sft", {"mmlu": 90, "gsm8k": 90}, prompt_sha256="by another template")
    found = table.table([chain[0], other], KEYS, {})
    assert row(found, "mmlu").scores["sft"].value == pytest.approx(0.9)
    refused = gain(found, "mmlu", "sft", "base")
    assert (refused.change, refused.verdict) == (None, None)
    assert refused.why == "scored with a different prompt of the task"
    assert "mmlu: sft is not comparable with base: scored with a different prompt of the task" in found.notes


@pytest.mark.parametrize("change", [{"key": "asked at another temperature"}, {"model": "other content"}])
def test_a_score_of_another_question_or_content_counts_as_none(chain: list[GainsEntry], change: dict[str, str]) -> None:
    record = chain[1].record
    assert record
    old = record.tasks | {"mmlu": record.tasks["mmlu"].model_copy(update=change)}
    found = table.table([chain[0], replace(chain[1], record=record.model_copy(update={"tasks": old}))], KEYS, {})
    assert "cpt" not in row(found, "mmlu").scores
    assert gain(found, "mmlu", "cpt", "base").why == "not scored"
    assert record.needs("mmlu", "another key", chain[1].questions)
    assert not record.needs("mmlu", KEYS["mmlu"], chain[1].questions)
    assert record.needs("mmlu", KEYS["mmlu"], {"mmlu": [1.0]})  # its questions are others than those of the record


def test_the_embedded_suite_is_in_the_group_of_its_language() -> None:
    about = {"group": "cloze, additional language", "language": "additional"}
    models = [entry(label, {"cloze_additional": count}, **about) for label, count in (("a", 10), ("b", 90))]
    keys = {"cloze_additional": "cloze_additional"}
    assert table.table(models, keys, {"additional": "Chinese"}).rows[0].group == "Chinese"
    assert table.table(models, keys, {}).rows[0].group == "additional language"


def test_a_model_that_could_not_be_read_is_absent_and_said(chain: list[GainsEntry]) -> None:
    lost = GainsEntry(GainsModel(label="dpo", named="/gone", why="/gone: no such folder"))
    found = table.table([*chain, lost], KEYS, {})
    assert "dpo" not in row(found, "mmlu").scores
    assert gain(found, "mmlu", "dpo", "sft").why == "/gone: no such folder"
    assert "No score of dpo for cmmlu, c3 and 3 more: /gone: no such folder" in text.missing(found)
    rows = list(csv.DictReader(io.StringIO(files.csv(found))))
    absent = next(one for one in rows if (one["name"], one["model"]) == ("mmlu", "dpo"))
    assert (absent["score"], absent["first_change"]) == ("", "")
    assert absent["why_no_score"] == "/gone: no such folder"


def test_the_files_say_the_same(chain: list[GainsEntry], tmp_path: Path) -> None:
    found = table.table(chain, KEYS, {})
    made = files.texts(found)
    (tmp_path / "gains.json").write_text(made["gains.json"])
    assert gains_file.read(tmp_path) == found
    rows = {(one["name"], one["model"]): one for one in csv.DictReader(io.StringIO(made["gains.csv"]))}
    assert float(rows["mmlu", "sft"]["before_change"]) == pytest.approx(0.38)
    assert rows["mmlu", "cpt"]["first_verdict"] == rows["mmlu", "cpt"]["before_verdict"] == "worse"
    assert "| English | mmlu | 100 | 0.800 | 0.400 - | 0.780 |" in made["gains.md"]
    assert r"mmlu & 100 & 0.800 & 0.400\,$\downarrow$ & 0.780 \\" in made["gains.tex"]
    assert made["gains.tex"].count(r"\toprule") == made["gains.tex"].count(r"\bottomrule") == 2
    page = Page(pages.render(found))
    assert ["mmlu", "100", "0.800", "0.400 -", "0.780"] in page.rows
    assert "Better" in page.text
    assert not page.links
    lines = text.lines(found, 80)
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:4] == ["cpt", "against", "base", "-0.400"] for line in lines)
    assert not any(line.lstrip().startswith("c3 ") for line in lines if "against" in line)  # the group stands for it


HOSTILE = '<script>alert(1)</script>|`x`\\input{/etc/passwd}&%$#_{}~^\n"=cmd'


def test_hostile_names_are_text_in_every_file(chain: list[GainsEntry]) -> None:
    model = GainsModel(label=HOSTILE, named=HOSTILE, why=HOSTILE)
    bad = replace(entry("x", {"mmlu": 10}), model=model)
    about = {"group": HOSTILE, "metric": HOSTILE}
    found = table.table([entry("base", {"mmlu": 50}, **about), bad, GainsEntry(model)], {"mmlu": KEYS["mmlu"]}, {})
    made = files.texts(found)
    page = Page(pages.render(found))
    assert page.tags.count("script") == 1
    assert HOSTILE.split("\n")[0] in page.text
    assert "<script>" not in made["gains.md"]
    assert r"\input{" not in made["gains.tex"]
    assert r"\textbackslash{}input\{/etc/passwd\}\&\%\$\#\_\{\}" in made["gains.tex"]
    assert all(
        line.endswith("\\\\") or line.startswith(("%", "\\")) or not line for line in made["gains.tex"].splitlines()
    )
    rows = list(csv.reader(io.StringIO(made["gains.csv"])))
    assert len({len(one) for one in rows}) == 1
    assert not [cell for one in rows for cell in one if cell.startswith(("=", "@"))]


def test_the_tabulars_have_as_many_cells_as_columns(chain: list[GainsEntry]) -> None:
    tabulars = files.latex(table.table(chain, KEYS, {})).split(r"\begin{tabular}{")[1:]
    assert len(tabulars) == 2
    for one in tabulars:
        columns = len(one.partition("}")[0])
        rows = [line for line in one.splitlines() if line.endswith("\\\\") and not line.startswith("\\multi")]
        assert len(rows) > 5
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {columns}


def test_without_a_comparison_nothing_is_called_lost_or_kept(chain: list[GainsEntry]) -> None:
    gone = GainsEntry(GainsModel(label="gone", named="/gone", why="no such folder"))
    found = table.table([gone, chain[1]], KEYS, {})
    assert (text.intro(found), text.lost(found)) == (text.NO_PAIR, [])
    assert "Not compared" in Page(pages.render(found)).text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("{", "not JSON"),
        ('{"schema_version": 99}', "version 99"),
        ('{"label": "a", "identity": 3}', "identity"),
        ('{"label": "a", "identity": {"named": "a", "sha256": "b", "files": {}}, "tasks": {"t": {}}}', "tasks.t.key"),
    ],
)
def test_a_damaged_record_is_one_line_with_the_fix(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError) as raised:
        model_record.read(tmp_path)
    line = str(raised.value).splitlines()[0]
    assert line.startswith(f"{tmp_path}/record.json")
    assert expected in line


def test_damaged_questions_are_asked_again(chain: list[GainsEntry], tmp_path: Path) -> None:
    record = chain[0].record
    assert record
    model_record.write(tmp_path, record, chain[0].questions)
    assert model_record.read(tmp_path) == (record, chain[0].questions)
    (tmp_path / "questions.json").write_text('{"mmlu": [1.0, 0.')
    again = model_record.read(tmp_path)
    assert again
    assert again[1] == {}
    assert again[0].needs("mmlu", KEYS["mmlu"], again[1])
    (tmp_path / "questions.json").unlink()
    model_record.write(tmp_path, record, chain[0].questions)
    path = tmp_path / "record.json"
    path.write_text(path.read_text().replace('"value": 0.8', '"value": 0.9'))
    edited = model_record.read(tmp_path)
    assert edited
    assert [task for task in KEYS if edited[0].needs(task, KEYS[task], edited[1])] == ["mmlu"]
    assert edited[0].answers("mmlu", KEYS["mmlu"], edited[1]) is None


def test_why_two_scores_are_not_compared_is_said_in_a_terminal(chain: list[GainsEntry]) -> None:
    short = [replace(one, questions={task: own[:1] for task, own in one.questions.items()}) for one in chain[:2]]
    for one in short:
        assert one.record
        for task, scored in one.record.tasks.items():
            alone = scored.score.model_copy(update={"value": one.questions[task][0], "stderr": None, "n": 1})
            update = {"score": alone, "questions": model_record.digest(alone, one.questions[task])}
            one.record.tasks[task] = scored.model_copy(update=update)
    said = " ".join(line.strip() for line in text.lines(table.table(short, KEYS, {}), 80))
    assert "No change in mmlu of cpt against base: fewer than two questions were answered by both" in said


def test_a_task_that_no_model_was_scored_on_has_no_row_and_one_line(chain: list[GainsEntry]) -> None:
    found = table.table(chain[:2], KEYS | {"bbh": "key"}, {})
    assert "bbh" not in {one.name for one in found.rows}
    assert "No score of any model for bbh: not scored" in text.missing(found)
    assert row(found, "Chinese").tasks == ("c3", "cmmlu")
