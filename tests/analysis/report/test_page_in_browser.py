"""The page in a real browser: what a reader points at, sorts, moves, prints."""

import io
import re
import unicodedata

import pytest
from browser import chromium
from typer.testing import CliRunner

from sweep import cli

pytestmark = pytest.mark.slow
LAUNCH = {
    "model": "large",
    "tokens": 10**11,
    "global_batch_tokens": 4_194_304,
    "sequence_length": 8192,
    "transfer": {"rule": "direct", "accept_token_ratio": 10**6},
}
CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > .99) return found;
    }
    return [255, 255, 255];
  };
  const written = one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  const faint = [];
  for (const one of document.querySelectorAll("body *")) {
    if (!one.checkVisibility() || one.closest("svg, option, noscript") || !written(one)) continue;
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push(`${one.tagName}.${one.className}: ${one.textContent.trim()}`);
  }
  return faint;
}"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, svg[role], [role=region]")]
  .filter(one => one.checkVisibility() && !one.textContent.trim() && !one.ariaLabel && !(one.labels || []).length)
  .map(one => one.outerHTML)"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_bowl, make_record, make_study, write_run):
    study = make_study(launch=LAUNCH, corpora={
        "original": {"embedded": "shakespeare", "language": "English"},
        "additional": {"embedded": "three-kingdoms", "language": "中文"},
    })  # fmt: skip
    other = [make_record(0.5, 3e-3, status="diverged", reason="over the margin")]
    records = [one.model_copy(update={"fingerprint": study.fingerprint}) for one in [*make_bowl(), *other]]
    run = write_run(tmp_path_factory.mktemp("runs") / "bowl", records, study)
    assert almr("report", str(run)).exit_code == 0
    return run


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def page(browser, run):
    one = browser.new_page(viewport={"width": 1400, "height": 900})
    one.complaints = []
    one.on("console", lambda told: one.complaints.append(told.text) if told.type in ("error", "warning") else None)
    one.on("pageerror", lambda error: one.complaints.append(str(error)))
    one.on("request", lambda request: one.complaints.append(request.url) if request.url.startswith("http") else None)
    one.goto((run / "report.html").as_uri())
    one.wait_for_selector("html[data-ready]")
    yield one
    assert one.complaints == []


def almr(*arguments):
    return CliRunner().invoke(cli.app, arguments)


def move(page, control, value):
    page.eval_on_selector(
        control, "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')) }", value
    )


def outcome(page):
    rows = page.eval_on_selector_all(
        "#outcome tbody tr", "rows => rows.map(r => [...r.children].map(c => c.textContent))"
    )
    return {name: cells for name, *cells in rows}


@pytest.mark.parametrize(("control", "value"), [("#weight-1", "0.2"), ("#weight-1", "0.85"), ("#guard", "1")])
def test_the_sliders_give_the_numbers_of_almr_fit(page, run, control, value):
    move(page, control, value)
    command = page.text_content("#what-if-command").split()
    told = almr("fit", str(run / "trials.csv"), *command[3:])
    shown = outcome(page)
    first, second = told.stdout.split("winner")[1].splitlines()[:2]
    assert re.search(r"ALMR ([\d.]+) \(", first)[1] == shown["ALMR"][1]
    assert re.search(r"LR ([\d.e-]+) \(", first)[1] == shown["peak LR"][1]
    objective = re.search(r"there: ([\d.]+) \(([\d.]+ to [\d.]+)\)", second)
    assert objective.groups() == (shown["objective"][1], shown["objective"][2])
    almrs = re.search(r"ALMR [\d.]+ \((?:90 % interval )?([\d.]+ to [\d.]+)\)", first)[1]
    assert shown["ALMR"][2] == ("by the command" if control == "#guard" else almrs)
    assert ("are points" in page.text_content("#outcome-note")) == (control == "#guard")
    page.click("#reset")
    assert outcome(page)["ALMR"][0] == outcome(page)["ALMR"][1]


def test_a_trial_under_the_pointer_is_marked_on_the_map_and_in_the_table(page):
    first = page.locator("#trial-rows tr").first
    first.hover()
    k = first.get_attribute("data-k")
    assert page.locator(f'#map .trial.hot[data-k="{k}"]').count() == 1
    mark = page.locator('#map .trial[data-k="5"]')
    mark.hover()
    assert page.locator("#trial-rows tr.hot").get_attribute("data-k") == "5"
    mark.click()
    assert "almr=" in page.text_content("#detail h3")
    assert "against the base model" in page.text_content("#detail")
    assert page.locator("#detail svg").count() == 1
    mark.click()


def test_the_table_sorts_and_filters(page):
    cells = "cells => cells.map(cell => parseFloat(cell.textContent))"
    page.click("#trial-heads th:nth-child(1) button")
    up = page.eval_on_selector_all("#trial-rows td:nth-child(1)", cells)
    page.click("#trial-heads th:nth-child(1) button")
    down = page.eval_on_selector_all("#trial-rows td:nth-child(1)", cells)
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert page.get_attribute("#trial-heads th:nth-child(1)", "aria-sort") == "descending"
    page.select_option("#filter-status", "diverged")
    assert page.locator("#trial-rows tr").count() == 1
    assert page.text_content("#trial-count") == "1 of 31 trials"
    page.select_option("#filter-status", "")


def test_all_of_it_works_by_keyboard(page):
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#map .trial[tabindex='0']")
    page.keyboard.press("ArrowRight")
    k = page.evaluate("document.activeElement.dataset.k")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    assert page.get_attribute(f'#trial-rows tr[data-k="{k}"]', "aria-current") == "true"
    page.focus("#trial-rows tr[tabindex='0']")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#trial-rows tr[aria-current]").get_attribute("data-k") != k
    assert page.evaluate(UNNAMED) == []


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.wait_for_timeout(250)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1400, "height": 900})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(50)
    assert page.evaluate(CONTRAST) == []
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != before
    page.click("#theme")


def test_every_layer_is_drawn_and_names_its_language(page):
    layers = page.eval_on_selector_all("#layer option", "every => every.map(one => one.value)")
    names = page.eval_on_selector_all("#layer option", "every => every.map(one => one.textContent)")
    assert names == ["objective", "English loss", "中文 loss", "uncertainty"]
    for layer in layers:
        page.select_option("#layer", layer)
        assert page.locator("#map image").count() == 1
        assert page.locator("#map .trial").count() == 31
    page.select_option("#layer", "objective")
    page.hover("#map image", position={"x": 300, "y": 150})
    assert re.match(r"Predicted at ALMR .*objective .* ± .*; English .*中文", page.text_content("#readout"))


def test_the_legend_has_what_is_on_the_map_and_nothing_else(page):
    shown = "items => items.filter(one => one.checkVisibility()).map(one => one.textContent)"
    marks = ["trial", "diverged", "winner, 90 % intervals", "best LR at each ALMR", "joint region"]
    assert page.eval_on_selector_all(".legend li", shown) == marks
    move(page, "#weight-1", "0.7")
    assert page.eval_on_selector_all(".legend li", shown) == [*marks[:3], "winner of this what-if"]
    page.click("#reset")


def test_downloads_are_made_in_the_page(page):
    with page.expect_download() as table:
        page.click("#get-trials")
    text = table.value.path().read_text(encoding="utf-8")
    assert text.splitlines()[0].startswith("trial_id,almr,lr,seed,status,objective,loss_original,loss_additional")
    assert len(text.splitlines()) == 32
    with page.expect_download() as drawn:
        page.click("button[data-figure=map]")
    assert drawn.value.suggested_filename == "bowl-map.svg"
    content = drawn.value.path().read_text(encoding="utf-8")
    assert 'xmlns="http://www.w3.org/2000/svg"' in content
    assert "class=" not in content


def test_it_prints_with_every_column_and_row(page):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed: the printed page is not read")
    heads = page.eval_on_selector_all("#trial-heads th", "every => every.map(one => one.textContent)")
    text = " ".join(one.extract_text() for one in pypdf.PdfReader(io.BytesIO(page.pdf())).pages)
    text = unicodedata.normalize("NFKC", " ".join(text.split()))
    assert [head for head in heads if head not in text] == []
    assert "diverged 205k 36.0 not in the study's grid" in text
    assert text.count("complete 205k 36.0") == 30
    assert "Quality of the fit" in text


@pytest.mark.parametrize("count", [0, 4])
def test_a_run_without_a_fit_shows_what_is_there(browser, count, make_bowl, make_study, write_run, tmp_path):
    (tmp_path / "few").mkdir()
    run, complaints = write_run(tmp_path / "few", make_bowl()[:count], make_study()), []
    assert almr("report", str(run)).exit_code == 0
    page = browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((run / "report.html").as_uri())
    page.wait_for_selector("html[data-ready]", timeout=5000)
    assert (complaints, page.locator("#trial-rows tr").count()) == ([], count)
    assert page.locator("#map .trial").count() == count
    assert page.text_content("#verdict b") == "NO RESULT"
    page.close()
