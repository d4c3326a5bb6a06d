"""The page of a comparison in a real browser, and what its scripts compute."""

import io
import re

import node
import pytest
from browser import chromium
from known_fits import EQUAL, known_fit
from pages import Page

from analysis.compare.compare import compared
from analysis.compare.page import page as pages
from analysis.decision.objectives import WeightedGoal
from analysis.report.inline import TEMPLATE

LONG = "a-study-of-a-very-long-name-" * 3


@pytest.fixture(scope="module")
def fits():
    goal = WeightedGoal({"original": 0.2, "additional": 0.8})
    others = [
        known_fit("larger", 2, almr=0.62),
        known_fit(LONG, 3, goal=goal, almrs=(0.3, 0.9)),
        known_fit("lrs", 4, alone="lr"),
    ]
    return [known_fit("base", goal=EQUAL), *others]


@pytest.fixture(scope="module")
def written(fits, tmp_path_factory):
    """The page of two runs whose objectives compare where stated, and of four with one of another objective."""
    folder = tmp_path_factory.mktemp("pages")
    two = compared(fits[:2], "of one suite")
    pages.write_page(two, fits[:2], folder / "two.html")
    pages.write_page(compared(fits), fits, folder / "four.html")
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


def opened(browser, path, width=1400, **options):
    one = browser.new_page(viewport={"width": width, "height": 900}, **options)
    one.complaints = []
    one.on("console", lambda told: one.complaints.append(told.text) if told.type in ("error", "warning") else None)
    one.on("pageerror", lambda error: one.complaints.append(str(error)))
    one.on("request", lambda request: one.complaints.append(request.url) if request.url.startswith("http") else None)
    one.goto(path.as_uri())
    one.wait_for_selector("html[data-ready]")
    return one


@pytest.mark.slow
def test_maps_of_two_runs_have_one_scale_and_are_read_together(browser, written, fits):
    page = opened(browser, written / "two.html")
    assert page.locator(".maps svg image").count() == 2
    assert page.locator("#map-key svg").count() == 1
    assert page.text_content("#scale-note").startswith("All maps have the same axes and the same colours")
    axes = [
        page.eval_on_selector_all(f"#map-{mark} .axes text", "all => all.map(one => one.textContent)") for mark in "AB"
    ]
    assert axes[0] == axes[1]
    page.focus("#map-A svg")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    read = page.text_content("#readout")
    lattice, winner = fits[0].lattice, fits[0].file.winner
    assert read.startswith(f"Predicted at ALMR {winner.almr:.2f}, LR ")
    shown = float(re.search(r"base ([\d.]+) \(\+", read)[1])
    assert shown == pytest.approx(float(fits[0].optima.mean.min()), abs=5e-4)
    assert f"{'larger'} " in read
    assert page.locator(".cross-hair").count() == 4
    page.hover("#map-B svg", position={"x": 200, "y": 100})
    assert page.text_content("#readout") != read
    page.select_option("#layer", "original")
    assert (
        page.locator(".maps svg").first.get_attribute("aria-label").startswith("base: original loss over ALMR and LR")
    )
    assert lattice.almr.size == 25
    with page.expect_download() as file:
        page.click("button[data-figure=map-A]")
    assert file.value.path().read_text(encoding="utf-8").startswith("<svg")
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_four_runs_fit_every_screen_both_themes_and_paper(browser, written):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    for width in (390, 800, 1400):
        page = opened(browser, written / "four.html", width, color_scheme="dark" if width == 800 else "light")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".maps figure").count() == 3  # a run of one hyper-parameter has no map
        assert page.locator("#map-key svg").count() == 3
        assert "they minimise different objectives" in page.text_content("#scale-note")
        assert page.complaints == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
        if width < 1400:
            page.close()
    page.emulate_media(media="print")
    paper = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    text = " ".join(sheet.extract_text() for sheet in paper.pages)
    for head in ("winner of", "p, corrected", "How this is computed"):
        assert head in re.sub(r"\s+", " ", text)
    page.close()


@pytest.mark.slow
def test_without_javascript_the_words_and_tables_are_there(browser, written):
    page = browser.new_page(java_script_enabled=False)
    page.goto((written / "four.html").as_uri())
    assert page.locator("noscript").count() == 1
    assert page.is_visible("#winners table")
    assert page.is_visible("#optima table")
    assert not page.is_visible(".maps")
    page.close()


def test_the_page_says_what_was_stated_and_links_nowhere(written):
    page = Page((written / "two.html").read_text(encoding="utf-8"))
    assert not page.links
    assert "because: of one suite" in page.text
    assert len(page.data["runs"]) == len(page.data["winners"]) == 2
    four = Page((written / "four.html").read_text(encoding="utf-8"))
    assert [run["mark"] for run in four.data["runs"]] == ["A", "B", "C"]
    assert four.data["scales"]["objective"] is False
    assert [winner["alone"] for winner in four.data["winners"]] == [None, None, None, "lr"]


@node.needs_node
def test_every_script_can_be_parsed():
    paths = [TEMPLATE / f"{name}.js" for name in pages.SHARED_SCRIPTS]
    paths += [pages.TEMPLATE / f"{name}.js" for name in pages.SCRIPTS]
    script = pages.inline.joined(paths)
    assert node.accepts(script) == ""
    assert "</script" not in script
    assert "innerHTML" not in script
    assert {path.stem for path in pages.TEMPLATE.glob("*.js")} == set(pages.SCRIPTS)


def test_the_scripts_types_are_those_of_the_data():
    text = (pages.TEMPLATE / "types.d.ts").read_text(encoding="utf-8")
    for model in (pages.BestPoint, pages.MapData, pages.ComparisonData):
        [body] = re.findall(rf"interface {model.__name__} {{(.*?)}}", text, re.DOTALL)
        assert set(re.findall(r"(\w+):", body)) == set(model.__annotations__), model.__name__
