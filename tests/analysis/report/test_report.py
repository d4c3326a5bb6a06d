import base64
import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from pages import Page

from analysis.fit.fit import fit_study, fit_table
from analysis.fit_file.curve import CurvePoint, DivergenceEdge
from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.forms import FORMS
from analysis.fit_file.transfer import EdgeAfter
from analysis.report.page import render
from analysis.table import table as tables
from sweep.study import CorpusFacts, Ingredients, Objective, numbers
from sweep.verbs.results.fitting import keep_surfaces

HOSTILE = '<script>alert("$x$")</script>'


@pytest.fixture(scope="module")
def html(fitted, tmp_path_factory) -> str:
    run = tmp_path_factory.mktemp("run")
    return render(keep_surfaces(fitted, run), run)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def words(fit, run, **changes) -> str:
    """The text of the fit's page, with fields of its `fit.json` replaced."""
    changed = replace(fit, file=fit.file.model_copy(update=changes))
    return " ".join(Page(render(changed, run)).text.split())


def test_the_page_leads_with_the_winner_and_its_warnings(fitted, tmp_path):
    warnings = [Finding(code="one", message="first warning"), Finding(code="two", message="second warning")]
    text = words(fitted, tmp_path, refusals=[], warnings=warnings)
    winner = f"ALMR{numbers.almr(fitted.file.winner.almr)}"
    lr = f"peak LR{numbers.lr(fitted.file.winner.lr)}"
    verdict = "FITTED No refusal. 2 warnings, below. No launch bundle of this fit yet."
    places = [text.index(part) for part in (verdict, winner, lr, "objective3.54", "launch LR")]
    places += [
        text.index(part) for part in ("Map of all trials", "Trials 33 trials", "What if", "larger budget worth it?")
    ]
    places += [text.index(part) for part in ("Transfer to large", "is an assumption", "sequence length: 128 in")]
    places += [text.index(part) for part in ("Objective The winner", "Warnings", *(one.message for one in warnings))]
    places += [text.index(part) for part in ("How certain is this?", "depend on ALMR?", "Change in loss, per language")]
    places += [text.index(part) for part in ("Figures", "Quality of the fit", "Downloads", "trial hours")]
    places += [text.index("Study and provenance")]
    assert places == sorted(places)
    assert "o not launch" not in text


def test_the_text_is_listed_with_what_was_held_out_and_dropped(fitted, tmp_path):
    assert "near-copies dropped" not in words(fitted, tmp_path)
    counts = dict.fromkeys(("bytes", "blocks", "held_out_documents", "held_out_bytes", "held_out_blocks"), 3)
    old = CorpusFacts(fingerprint="a", documents=1200, tokens=3800, held_out_tokens=200, **counts)
    new = old.model_copy(update={"copies": 0, "copied_tokens": 0, "near_copies": 59, "near_copied_tokens": 1000})
    made = Ingredients(
        base_model="x", base_model_fingerprint="x", folders={}, corpora={"original": old, "additional": new}
    )
    (tmp_path / "ingredients.json").write_text(made.model_dump_json())
    text = words(fitted, tmp_path)
    label = fitted.label("additional")
    assert f"{fitted.label('original')}1,2003,8003200 (5.0 % of all)--" in text
    assert f"{label}1,2003,8003200 (4.0 % of all)059 (1,000 tokens)" in text
    assert "documents to train ontokens to train ondocuments held outtokens held out" in text
    assert "Each document begins without BOS and ends with end-of-text." in text


def test_a_refusal_stands_above_the_winner_with_the_trials_to_run_next(fitted, tmp_path):
    trials = (NextTrial(almr=0.35, lr=2e-4), NextTrial(almr=0.65, lr=3e-4))
    refusals = [Finding(code="one", message="too flat & wide", next=trials), Finding(code="two", message="too few")]
    file = fitted.file.model_copy(update={"refusals": refusals, "warnings": []})
    page = Page(render(replace(fitted, file=file), tmp_path))
    text = " ".join(page.text.split())
    winner = f"ALMR{numbers.almr(fitted.file.winner.almr)}"
    verdict = "REFUSED Do not launch with this winner."
    places = [text.index(part) for part in (verdict, "one too flat & wide", "two too few", winner)]
    assert places == sorted(places)
    assert text.count("Suggested trials (ALMR / LR): 0.35 / 2e-4, 0.65 / 3e-4") == 1
    assert "Do not launch: this fit is refused" in text
    assert "No warnings" not in text


def test_without_a_finding_the_page_says_so(fitted, tmp_path):
    assert "No warnings." in words(fitted, tmp_path, refusals=[], warnings=[])


def test_the_page_needs_nothing_beside_it(html, page):
    assert page.links == []
    assert not {"link", "iframe", "img", "object"} & set(page.tags)
    assert "@import" not in html
    assert not re.search(r"https?://(?!www\.w3\.org)", html.replace(page.text, ""))
    assert len(html) < 250_000


def test_its_policy_lets_only_its_own_style_and_script_run(page):
    def named(part: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(page.scripts[part].encode()).digest()).decode()

    assert page.policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src '{named('style')}'; script-src '{named('script')}';" in page.policy
    assert "unsafe" not in page.policy
    assert page.tags.count("style") == 1
    assert page.tags.count("script") == 3  # two of them are data
    assert len(page.ids) == len(set(page.ids))


def test_gain_and_what_each_language_pays_are_in_numbers(page):
    text = " ".join(page.text.split())
    assert re.search(
        r"1\.00\d nats below the base model's 4\.550 \(90 % interval (1\.00|0\.99)\d to 1\.0[01]\d\)", text
    )
    assert re.search(r"original loss3\.24\d ▼ -0\.15\d better", text)
    languages = [row for row in page.rows if row[0] in ("original", "additional")]
    assert [row[1:3] for row in languages[:2]] == [["0.50", "3.400"], ["0.50", "5.700"]]
    assert [row[5][0] for row in languages[:2]] == ["-", "-"]


def test_calibration_is_in_numbers(page, fitted):
    rows = {row[0]: row[1:] for row in page.rows if row[0] in ("original", "additional")}
    heads = next(row for row in page.rows if row[0] == "surface")
    assert heads[5:] == ["inside 50 %", "inside 80 %", "inside 90 %"]
    for name, check in fitted.file.cross_validation.items():
        errors = [f"{value:.4f}" for value in (fitted.file.noise[name], check.rmse, check.plain_rmse)]
        inside = [f"{100 * check.coverage[level]:.0f} %" for level in ("0.5", "0.8", "0.9")]
        assert rows[name] == [fitted.file.forms[name], *errors, *inside]


def test_the_coupling_is_a_factor_a_slope_and_a_test_over_the_almrs_it_is_about(page, fitted):
    text, found = " ".join(page.text.split()), fitted.file.coupling
    form = next(form for form in FORMS if form.name == found.form)
    low, high = form.of(np.array([found.almr_low, found.almr_high]))
    change = f"{numbers.times(math.exp(found.slope * (high - low)))} that at ALMR {found.almr_low:.2f} (90 % interval"
    assert f"Yes (p at most 0.002): the best LR at ALMR {found.almr_high:.2f} is {change}" in text
    assert f"per unit of {form.name} (" in text
    assert "Tune the two together." in text
    assert "two-sided test of a zero slope: p at most 0.002" in text
    assert "see the curve" not in text


def test_a_p_value_that_was_resolved_is_given_as_it_is(fitted, tmp_path):
    coupling = fitted.file.coupling.model_copy(update={"p_value": 0.034})
    assert "test of a zero slope: p = 0.034" in words(fitted, tmp_path, coupling=coupling)


def test_a_curve_that_turns_is_not_summed_up_by_a_line(fitted, tmp_path):
    found = fitted.file.coupling
    places = zip((found.almr_low, 0.5, found.almr_high), (1e-4, 5e-4, 2e-4), strict=True)
    curve = [CurvePoint(almr=a, lr=lr, lr_low=lr / 1.1, lr_high=lr * 1.1, at_edge=False) for a, lr in places]
    turning = "; between them it {}: see the curve on the map."
    assert turning.format("rises and falls") in words(fitted, tmp_path, curve=curve)
    low = curve[1].model_copy(update={"lr": 2e-5, "lr_low": 1.9e-5, "lr_high": 2.1e-5})
    assert turning.format("falls and rises") in words(fitted, tmp_path, curve=[curve[0], low, curve[2]])
    wide = [curve[0], curve[1].model_copy(update={"lr_low": 5e-5}), curve[2]]
    assert "see the curve" not in words(fitted, tmp_path, curve=wide)


def test_the_page_says_how_certain_the_winner_is(fitted, tmp_path):
    shares = {"almr": 0.2, "lr": 0.01}
    winner = fitted.file.winner.model_copy(update={"edge_probability": shares})
    text = words(fitted, tmp_path, winner=winner)
    assert f"The 90 % joint region of ALMR and LR is {100 * fitted.file.region.share:.1f} % of the tried range" in text
    assert "The best ALMR may lie at an end of the tried ALMRs or beyond: the probability is 20 %." in text
    assert "The best LR may lie" not in text
    assert "joint region)" not in words(fitted, tmp_path, region=None)


@pytest.mark.parametrize(
    ("edge", "shown"),
    [
        (
            DivergenceEdge(trials=4, lr=8e-4, factor=7.3),
            "diverges from about LR 8e-4, 7.3 x the winner's (4 trials diverged)",
        ),
        (DivergenceEdge(trials=4, lr=9e-5, factor=0.8), "The winner is above the divergence edge."),
        (DivergenceEdge(trials=0, lr=1e-3, factor=9.1), "No trial diverged, up to LR 1e-3 (9.1 x the winner's)."),
        (DivergenceEdge(trials=2, lr=None, factor=None), "Where training diverges is not known: 2 trials diverged"),
    ],
)
def test_the_distance_to_divergence_is_said(fitted, tmp_path, edge, shown):
    assert shown in words(fitted, tmp_path, divergence=edge)


def test_under_a_guard_the_page_says_what_is_guarded_and_how_surely(make_bowl, make_study, tmp_path):
    study = make_study(objective={"forgetting_guard_percent": 2})
    fit = fit_study(study, tables.from_records(make_bowl()))
    page = Page(render(fit, tmp_path))
    text = " ".join(page.text.split())
    assert "that of original is at most 3.468: 2 % above the base model's" in text
    assert f"keeps the forgetting guard with a probability of {100 * fit.file.guard.probability:.1f} %" in text
    assert "Not known: it is not estimated under the forgetting guard, which limits the LRs." in text
    assert "A trial over the forgetting guard has no objective." in text
    gain = 5.7 - fit.file.winner.objective
    assert f"{gain:.3f} nats below the base model's 5.700" in text
    assert "weight" not in next(row for row in page.rows if row[0].startswith("held-out loss"))
    trials = page.data["trials"]
    over = [loss > fit.file.guard.bound for loss in trials["loss"]["original"]]
    assert over == [objective is None for objective in trials["objective"]]
    assert 0 < sum(over) < len(over)
    assert page.data["goal"] == {
        "weights": {"additional": 1.0},
        "bounds": fit.file.bounds,
        "forgetting": 2.0,
        "guards": {},
    }


def test_a_table_of_the_users_own_has_a_page(make_bowl, tmp_path):
    table = tables.from_records(make_bowl()).assign(**dict.fromkeys(("seconds", "gpu_hours", "tokens")))
    table["loss_total"] = (table["loss_original"] + table["loss_additional"]) / 2
    table = table.assign(loss_original=math.nan, loss_additional=math.nan, score_quiz=0.5)
    fit = fit_table(table, Objective(), HOSTILE)
    page = Page(render(keep_surfaces(fit, tmp_path), tmp_path))
    text = " ".join(page.text.split())
    assert page.tags.count("script") == 3
    assert text.count(HOSTILE) == 2
    for absent in ("Transfer to", "Change in loss, per language", "trial hours", "Study and provenance", "worth it"):
        assert absent not in text
    assert (page.data["losses"], page.data["labels"]) == (["total"], {"total": "loss"})
    assert set(page.data["trials"]["score"]["quiz"]) == {0.5}
    assert list(page.data["grid"]["mean"]) == ["total"]


def test_cost_is_summed_over_what_was_recorded(page):
    text = " ".join(page.text.split())
    assert "trial hours0.32" in text
    assert "GPU-hours0.64" in text
    assert "tokens trained6.55M" in text
    assert "the 32 of 33 trials that recorded their time" in text


def test_what_no_trial_recorded_is_not_a_zero(make_bowl, make_study, tmp_path):
    table = tables.from_records(make_bowl(coupling=0.0)).assign(gpu_hours=None, base_loss_original=None)
    text = " ".join(Page(render(fit_study(make_study(), table), tmp_path)).text.split())
    assert "GPU-hours–" in text
    assert "so the gain over it is not known" in text
    assert "The study has no launch" in text
    assert "Not shown (p = " in text
    assert "The interval includes no change." in text


def test_one_almr_claims_no_coupling(make_bowl, make_study, tmp_path):
    table = tables.from_records(make_bowl(almrs=(0.5,), seeds=(0, 1)))
    text = " ".join(Page(render(fit_study(make_study(), table), tmp_path)).text.split())
    assert "Not known: only one ALMR was tried" in text


@pytest.mark.parametrize(("best", "wanted"), [(3e-6, "Add lower LRs"), (4e-3, "Add higher LRs")])
def test_a_best_lr_past_the_end_claims_no_coupling_and_says_where_to_look(
    make_bowl, make_study, tmp_path, best, wanted
):
    records = make_bowl(coupling=0.0)
    shifted = [r.model_copy(update={"lr": r.lr * best / 1.1e-4}) for r in records]
    table = tables.from_records(shifted)
    table = table[table["lr"].between(9e-6, 1.1e-3)]
    fit = fit_study(make_study(), table)
    assert fit.file.coupling is None
    assert wanted in " ".join(Page(render(fit, tmp_path)).text.split())


def test_scores_have_columns(make_bowl, make_record, make_study, tmp_path):
    scored = make_record(0.5, 2e-4, loss={"original": 3.3, "additional": 3.9}, scores={HOSTILE: {"value": 0.25}})
    page = Page(render(fit_study(make_study(), tables.from_records([*make_bowl(), scored])), tmp_path))
    assert set(page.data["trials"]["score"][HOSTILE]) == {0.25, None}


def test_the_page_calls_languages_by_their_names(make_bowl, make_study, tmp_path):
    names = {"original": "English", "additional": "Chinese"}
    embedded = {"original": "shakespeare", "additional": "three-kingdoms"}
    corpora = {name: {"embedded": embedded[name], "language": language} for name, language in names.items()}
    page = Page(render(fit_study(make_study(corpora=corpora), tables.from_records(make_bowl())), tmp_path))
    text = " ".join(page.text.split()).split("Study and provenance")[0]
    assert "on Chinese (additional) and English (original)" in text
    assert "weights 0.50 for English and 0.50 for Chinese" in text
    assert text.count("original") == text.count("additional") == 1
    assert {"English", "Chinese"} <= {row[0] for row in page.rows}
    assert page.data["labels"] == {"original": "English", "additional": "Chinese"}


def test_an_lr_above_the_scaled_divergence_edge_is_a_call_for_confirmation(fitted, tmp_path):
    def said(measured: bool, factor: float) -> str:
        transfer = fitted.file.transfer.model_copy(update={"lr": 1e-4})
        edge = EdgeAfter(lr=factor * 1e-4, factor=factor, measured=measured, assumption="assumes a law")
        return words(fitted, tmp_path, transfer=transfer.model_copy(update={"edge": edge}))

    over = said(measured=False, factor=0.17)
    assert "may diverge from LR 1.7e-5 up (a lower bound: no trial diverged). The proposed LR is 5.9 x above" in over
    assert "run the confirmation runs before the launch. Assumes a law." in over
    under = said(measured=True, factor=3)
    assert "diverges from about LR 3e-4. The proposed LR is 3 x below that." in under


def test_a_users_text_is_text(make_bowl, make_record, make_study, tmp_path):
    study = make_study(
        base_model={"pretrained": HOSTILE},
        corpora={
            "original": {"embedded": "shakespeare", "language": HOSTILE},
            "additional": {"dataset": HOSTILE, "language": "中文"},
        },
        launch={"model": HOSTILE, "tokens": 10**9, "global_batch_tokens": 4096, "sequence_length": 128},
    )
    (tmp_path / "provenance.json").write_text(json.dumps({"host": HOSTILE}))
    records = [*make_bowl(), make_record(0.5, 3e-3, status="failed", reason=HOSTILE)]
    html = render(fit_study(study, tables.from_records(records)), tmp_path)
    page = Page(html)
    assert html.count("<script") == page.tags.count("script") == 3
    assert page.text.count(HOSTILE) >= 6
    assert HOSTILE in str(page.data["trials"]["out"])
    assert page.data["labels"] == {"original": HOSTILE, "additional": "中文"}
    assert "中文" in page.text


@pytest.mark.parametrize(
    ("content", "shown"),
    [('{"host": "h1"}', '"host": "h1"'), ("{cut", "{cut"), ("[" * 2000, "[" * 2000), (None, "has no provenance.json")],
)
def test_provenance_is_shown_as_it_is(fitted, tmp_path, content, shown):
    if content:
        (tmp_path / "provenance.json").write_text(content)
    assert shown in Page(render(fitted, tmp_path)).text


def test_the_same_fit_gives_the_same_page(fitted, tmp_path):
    assert render(keep_surfaces(fitted, tmp_path), tmp_path) == render(keep_surfaces(fitted, tmp_path), tmp_path)
