import base64
import json
import re
from html.parser import HTMLParser

import pytest

from analysis import plots
from analysis import table as tables
from analysis.fit import fit_run, fit_table
from analysis.report import render, write_report

HOSTILE = '<script>alert("$x$")</script>'


class Page(HTMLParser):
    """The tags, the text and the rows of all tables of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.rows, self.cell = [], [], "", [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def html(fitted, tmp_path_factory) -> str:
    return render(fitted, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """For pages whose figures do not matter: drawing them takes a second."""
    monkeypatch.setattr(plots, "figures", lambda fit, run: {})


def test_the_page_leads_with_the_winner_and_its_warnings(page, fitted):
    text = " ".join(page.text.split())
    places = [text.index(part) for part in ("ALMR0.5", "peak LR1.1e-4", "objective3.54", "Before this is used")]
    places += [text.index(warning) for warning in fitted.file.warnings]
    places += [
        text.index(part) for part in ("What carries to the launch", "is an assumption", "sequence length: 128 in")
    ]
    places += [text.index(part) for part in ("Figures", "How far to trust", "Trials", "Cost", "Study and provenance")]
    assert places == sorted(places)


def test_the_page_needs_nothing_beside_it(html, page):
    assert len(page.links) == 4
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in html
    assert "@import" not in html


def test_its_figures_are_those_of_the_run(tmp_path, make_bowl, make_study, write_run):
    study = make_study()
    run = write_run(tmp_path / "run", make_bowl(), study)
    fit = fit_run(study, run)
    path = write_report(fit, run)
    inside = [base64.b64decode(link.split(",")[1]) for link in Page(path.read_text(encoding="utf-8")).links]
    assert inside == [figure.read_bytes() for figure in plots.write_figures(fit, run)]
    assert path == run / "report.html"
    assert [p.name for p in run.iterdir() if "report" in p.name] == ["report.html"]


def test_trials_are_sorted_by_objective_and_those_left_out_come_last_with_their_reason(page):
    start = next(i for i, row in enumerate(page.rows) if row[0] == "ALMR")
    rows = page.rows[start + 1 :]
    assert len(rows) == 33
    assert [row[-1] for row in rows] == [
        *[""] * 30,
        "diverged: held-out loss 9.1 is over the margin",
        "failed: worker died",
        "no additional loss",
    ]
    objectives = [float(row[4]) for row in rows[:30]]
    assert objectives == sorted(objectives)


def test_what_is_missing_is_a_dash(page):
    failed = next(row for row in page.rows if row[-1] == "failed: worker died")
    assert failed == ["0.7", "–", "3e-3", "0", "–", "–", "–", "–", "–", "failed: worker died"]


def test_gain_coupling_and_fit_are_in_numbers(page, fitted):
    text = " ".join(page.text.split())
    assert re.search(r"1\.00\d nats below the base model's 4\.550 \(90 % interval 1\.00\d to 1\.00\d\)", text)
    assert "the two dials are coupled" in text
    assert re.search(r"changes by a factor of 2\.\d\d \(90 % interval [12]\.\d\d to [23]\.\d\d\)", text)
    languages = [row for row in page.rows if row[0] in ("original", "additional")]
    assert [row[2] for row in languages[:2]] == ["3.400", "5.700"]
    assert [row[5][0] for row in languages[:2]] == ["-", "-"]
    assert [row[1] for row in languages[2:]] == [f"{noise:.4f}" for noise in fitted.file.noise.values()]


def test_cost_is_summed_over_what_was_recorded(page):
    text = " ".join(page.text.split())
    assert "trial hours0.32" in text
    assert "GPU-hours0.64" in text
    assert "tokens trained6.55M" in text
    assert "the 32 of 33 trials that recorded their time" in text


def test_what_no_trial_recorded_is_not_a_zero(no_figures, make_bowl, make_study, tmp_path):
    table = tables.from_records(make_bowl(coupling=0.0)).assign(gpu_hours=None, base_loss_original=None)
    text = " ".join(Page(render(fit_table(make_study(), table), tmp_path)).text.split())
    assert "GPU-hours–" in text
    assert "no gain over it is claimed" in text
    assert "names no launch" in text
    assert "do not show that the best LR depends on the ALMR" in text


def test_one_almr_claims_no_coupling(no_figures, make_bowl, make_study, tmp_path):
    table = tables.from_records(make_bowl(almrs=(0.5,), seeds=(0, 1)))
    text = " ".join(Page(render(fit_table(make_study(), table), tmp_path)).text.split())
    assert "only one almr was measured" in text
    assert "is not known: one ALMR or one LR was measured" in text


def test_scores_have_columns(no_figures, make_bowl, make_record, make_study, tmp_path):
    scored = make_record(0.5, 2e-4, loss={"original": 3.3, "additional": 3.9}, scores={HOSTILE: {"value": 0.25}})
    page = Page(render(fit_table(make_study(), tables.from_records([*make_bowl(), scored])), tmp_path))
    header = next(row for row in page.rows if row[0] == "ALMR")
    column = header.index(HOSTILE)
    scores = [row[column] for row in page.rows if len(row) == len(header)][1:]
    assert sorted(set(scores)) == ["0.250", "–"]


def test_a_users_text_is_text(no_figures, make_bowl, make_record, make_study, tmp_path):
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
    html = render(fit_table(study, tables.from_records(records)), tmp_path)
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 7
    assert "中文" in page.text


@pytest.mark.parametrize(
    ("content", "shown"), [('{"host": "h1"}', '"host": "h1"'), ("{cut", "{cut"), (None, "has no provenance.json")]
)
def test_provenance_is_shown_as_it_is(no_figures, fitted, tmp_path, content, shown):
    if content:
        (tmp_path / "provenance.json").write_text(content)
    assert shown in Page(render(fitted, tmp_path)).text


def test_the_same_fit_gives_the_same_page(fitted, html, tmp_path):
    assert render(fitted, tmp_path) == html
