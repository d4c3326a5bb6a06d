"""The page of a run that goes on, in a real browser: it loads itself again and stays as the reader left it."""

import json
import re

import going_run
import pytest
from browser import chromium
from typer.testing import CliRunner

from sweep import cli
from sweep.verbs.live import page as pages

pytestmark = pytest.mark.slow
WIDTHS = (390, 800, 1400)


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture
def going(tmp_path, monkeypatch):
    """The writer of a page that loads itself at short intervals, and what its run does."""
    monkeypatch.setattr(pages, "EVERY_SECONDS", 0.6)
    of = going_run.study()
    run, trials = going_run.begin(tmp_path / "runs" / of.name, of), of.grid_trials
    going_run.end(run, of, trials[:10])
    going_run.start(run, of, trials[10])
    writer = pages.LivePage(run)
    writer.write([trials[10].id])
    return writer, run, of, trials


@pytest.fixture
def opened(browser, going):
    page = browser.new_page(viewport={"width": 1400, "height": 700})
    page.complaints, page.loads = [], []
    page.on("console", lambda told: page.complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("load", lambda: page.loads.append(1))
    page.goto((going[1].folder / "report.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    assert page.complaints == []
    page.close()


def loaded_again(page):
    before = len(page.loads)
    for _ in range(100):
        page.wait_for_timeout(100)
        if len(page.loads) > before:
            return page.wait_for_selector("html[data-ready]")
    raise AssertionError("the page did not load itself again")


def test_the_page_loads_itself_again_as_the_reader_left_it_until_the_run_ends(opened, going):
    page, (writer, run, of, trials) = opened, going
    assert page.text_content("#verdict b") == "RUNNING"
    assert "10 of 12 trials done, 1 running, 1 waiting" in page.text_content("#verdict")
    assert "Provisional winner, of 10 trials: ALMR 0." in page.text_content("#verdict")
    assert [*page.locator("#running td").all_text_contents()][:4] == ["ALMR 0.90, LR 3e-3", "4/8", "5.60", "128"]
    assert page.locator("#map .running.ground").count() == 1
    page.click("#trial-heads th:nth-child(2) button")
    page.click("#trial-heads th:nth-child(2) button")
    chosen = page.locator("#trial-rows tr").nth(3)
    chosen.click()
    mark = page.text_content("#detail h3")
    page.select_option("#layer", "sd")
    page.fill("#filter-text", "complete")
    page.click("#theme")
    page.eval_on_selector("#weight-1", "one => { one.value = '0.8'; one.dispatchEvent(new Event('input')) }")
    fold = page.locator("summary", has_text="Quality of the fit")
    fold.click()
    page.evaluate("scrollTo(0, 420)")
    page.focus("#filter-text")

    going_run.end(run, of, [trials[10]])
    going_run.start(run, of, trials[11], step=2)
    writer.write([trials[11].id])
    loaded_again(page)
    if "11 of 12" not in page.text_content("#verdict"):
        loaded_again(page)
    assert "11 of 12 trials done, 1 running, 0 waiting" in page.text_content("#verdict")

    def kept():
        assert page.text_content("#detail h3") == mark
        assert page.get_attribute("#trial-heads th:nth-child(2)", "aria-sort") == "descending"
        assert (page.input_value("#layer"), page.input_value("#filter-text")) == ("sd", "complete")
        assert page.get_attribute("html", "data-theme") == "dark"
        assert page.input_value("#weight-1") == "0.8"
        assert page.locator("details[open] > summary", has_text="Quality of the fit").count() == 1
        assert abs(page.evaluate("scrollY") - 420) < 30
        assert page.evaluate("document.activeElement.id") == "filter-text"

    kept()
    going_run.end(run, of, [trials[11]])
    run.files.lock.unlink()
    assert CliRunner().invoke(cli.app, ["report", str(run.folder)]).exit_code == 0
    loaded_again(page)
    if page.text_content("#verdict b") == "RUNNING":  # it was just being loaded
        loaded_again(page)
    assert page.text_content("#verdict b") in ("FITTED", "REFUSED")
    assert page.text_content("#detail h3") == mark
    loads = len(page.loads)
    page.wait_for_timeout(1200)
    assert len(page.loads) == loads  # the run has ended


def test_a_reader_can_pause_it_and_is_not_interrupted(opened):
    page = opened
    page.click("#pause")
    loads = len(page.loads)
    page.wait_for_timeout(1200)
    assert (len(page.loads), page.text_content("#pause")) == (loads, "Go on")
    page.click("#pause")
    loaded_again(page)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    loads = len(page.loads)
    page.wait_for_timeout(1200)
    assert len(page.loads) == loads
    page.evaluate("getSelection().removeAllRanges()")
    loaded_again(page)


def test_a_page_that_nobody_writes_any_more_does_not_say_that_the_run_goes_on(opened, going):
    page, file = opened, going[1].files.report
    page.click("#pause")
    at = json.loads(re.search(r'"at": ?([0-9.]+)', file.read_text())[1])
    for minutes, word in ((4, "RUNNING"), (10, "NOT HEARD OF")):  # the clocks of two machines may differ by minutes
        file.write_text(file.read_text().replace(str(at), str(at - 60 * minutes)))
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.text_content("#verdict b") == word
        at -= 60 * minutes
    assert "NOT HEARD OF " in page.title()
    assert "Nothing was heard of the run since " in page.text_content("#age")
    assert ", for 14 min: was its machine lost" in page.text_content("#age")


@pytest.mark.parametrize("ended", [0, 4, 10])
def test_it_is_there_from_the_first_trial_on_at_every_width(browser, ended, tmp_path):
    of = going_run.study()
    run, trials = going_run.begin(tmp_path / "runs" / of.name, of), of.grid_trials
    going_run.end(run, of, trials[:ended])
    going_run.start(run, of, trials[ended], step=1)
    pages.LivePage(run).write([trials[ended].id])
    complaints, page = [], browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(run.files.report.as_uri())
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#map .trial").count() == ended
    assert page.locator("#map .running.ground").count() == 1
    assert ("No winner yet: " in page.text_content("#verdict")) is (ended < 9)
    assert complaints == []
    page.close()
