"""The report and the answer of studies with several sources a language."""

import copy

import pytest
from pages import Page
from several_sources import CORPORA, records, study

from analysis.fit.fit import Fit, fit_study
from analysis.report.page import render
from analysis.table import table as tables
from sweep.verbs.results.verdict import verdict

HOSTILE = '<script>alert("x")</script> | $x$'


@pytest.fixture(scope="module")
def fitted() -> Fit:
    corpora = copy.deepcopy(CORPORA)
    corpora["original"][0]["language"] = HOSTILE
    corpora["additional"]["language"] = None
    guards = [{"source": "code", "at_most_percent": 5}]
    of = study(corpora=corpora, objective={"weights": {"code": 1, "additional": 1}, "guards": guards})
    return fit_study(of, tables.from_records(records(of)))


@pytest.fixture(scope="module")
def page(fitted, tmp_path_factory) -> Page:
    return Page(render(fitted, tmp_path_factory.mktemp("run")))


def test_each_source_has_a_row_with_its_losses_against_the_base_model(page, fitted):
    heads = next(row for row in page.rows if row[0] == "source")
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in page.rows if len(row) == len(heads)}
    assert {"web", "code", "additional"} <= set(rows)
    code = rows["code"]
    assert (code["language"], code["share"], code["weight"]) == (HOSTILE, "30.0 %", "0.50")
    assert code["guard: at most"] == "2.100"
    assert (code["base model"], code["base model (bits per byte)"]) == ("2.000", "1.200")
    [one] = [one for one in fitted.file.sources if one.name == "code"]
    assert code["winner (predicted)"] == f"{one.loss.mean:.3f}"
    assert code["change"] == f"+{one.change:.3f}"
    assert code["winner (bits per byte)"] == f"{one.bits_per_byte:.3f}"
    assert [rows[name]["verdict"] for name in ("web", "code", "additional")] == ["better", "worse", "better"]
    assert rows["web"]["guard: at most"] == rows["web"]["weight"] == "–"


def test_a_hostile_name_of_a_language_is_text(page):
    assert page.tags.count("script") == 3
    assert HOSTILE in page.text
    assert page.links == []


def test_the_objective_the_guard_and_every_trial_name_the_sources(page, fitted):
    text = " ".join(page.text.split())
    assert "with weights 0.50 for additional, 0.50 for code." in text
    assert "Guard: the loss of code at most 2.1000, 5 % above the base model's 2.0000: kept with" in text
    assert [page.data["labels"][name] for name in page.data["losses"]] == [HOSTILE, "additional", "code", "web"]
    assert list(page.data["trials"]["loss"]) == page.data["losses"]
    assert page.data["goal"]["weights"] == {"additional": 0.5, "code": 0.5}
    assert page.data["goal"]["guards"] == {"code": 5.0}
    assert "Change in loss, per language" in text
    assert "Not known: it is not estimated under the guard of code, which limits the LRs." in text
    assert "A trial over the guard of code has no objective." in text
    assert "orgetting" not in text
    first = next(i for i, row in enumerate(page.rows) if row[0] == "surface") + 1
    assert [row[0] for row in page.rows[first : first + 3]] == [HOSTILE, "additional", "code"]
    lines = verdict(fitted).splitlines()
    [answer] = [line for line in lines if line.startswith("loss by source, base model -> winner: web 3.2200 -> ")]
    assert "code 2.0000 -> " in answer
    assert "(worse)" in answer
    assert "coupling: not estimated under the guard of code" in lines
    assert any(line.startswith("guard: the loss of code at most 2.1000") for line in lines)


def test_what_no_trial_measured_of_a_source_is_not_a_number(fitted, tmp_path):
    of = study()
    made = [one.model_copy(update={"sources": {}}) for one in records(of)]
    table = tables.from_records(made)
    fit = fit_study(of, table)
    rows = [row for row in Page(render(fit, tmp_path)).rows if row[0] in ("web", "code")]
    assert [row[2] for row in rows] == ["70.0 %", "30.0 %"]
    assert all(row[5:] == ["–", "–", "", "–", "–", "–", "not known"] for row in rows)
    [line] = [line for line in verdict(fit).splitlines() if line.startswith("loss by source")]
    assert line.startswith("loss by source, base model -> winner: Chinese 5.7000 -> ")
    assert "code" not in line
