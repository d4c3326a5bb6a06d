"""`almr compare`: what it prints and writes, and each input that it refuses in one line."""

import json
import math
import shutil

import bowl_run
import pytest
from known_surfaces import Known, grid, measure
from pages import Page
from typer.testing import CliRunner

from analysis.compare.page.page import STAMP
from sweep import cli
from sweep.study.numbers import ratio
from sweep.verbs.results import fitting

HOSTILE = "</script><img src=x onerror=alert(1)>"


def almr(*arguments):
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A fitted run and its copy."""
    folder = tmp_path_factory.mktemp("runs")
    bowl_run.write_fitted(folder / "before")
    shutil.copytree(folder / "before", folder / "after")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_and_its_copy_show_no_difference_and_the_page_is_written_here(runs, here):
    done = almr("before", "after", "--runs", runs)
    assert done.exit_code == 0, done.output
    assert "before and after: CARRIES OVER: " in done.stdout
    assert "no difference of the optima is shown (p = 1.000): ALMR +0.000 (" in done.stdout
    assert "No field of the recipes differs." in done.stdout
    assert "page: compare.html" in done.stderr
    html = (here / "compare.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.links
    assert "connect-src" not in page.policy
    assert "default-src 'none'" in page.policy
    assert page.data["scales"] == {"objective": True, "original": True, "additional": True}
    assert [run["mark"] for run in page.data["runs"]] == ["A", "B"]
    assert [row[0] for row in page.rows].count("ALMR") == 1
    assert html.count("<script") == 2


def test_the_page_has_the_numbers_of_the_result(runs, here):
    found = json.loads(almr(runs / "before", runs / "after", "--json", "--out", "p.html").stdout)
    assert found["page"] == "p.html"
    rows = {row[0]: row[1:] for row in Page((here / "p.html").read_text(encoding="utf-8")).rows}
    winner = found["runs"][0]["winner"]
    assert rows["ALMR"][0].startswith(f"{winner['almr']:.2f} (")
    shift = found["pairs"][0]["shift"]
    [cells] = [cells for name, cells in rows.items() if " and " in name]
    assert cells[1].startswith(ratio(shift["lr"]["value"]))
    assert cells[2] == f"{shift['p_value']:.3f}"


def test_a_table_beside_a_run_states_no_recipe_and_its_hostile_name_is_text(runs, here):
    table = measure(Known(), grid(4, 4))
    made = fitting.fit_table(table, name=HOSTILE)
    folder = here / "theirs"
    folder.mkdir()
    table.to_csv(folder / "trials.csv", index=False)
    (folder / "fit.json").write_text(made.file.model_dump_json())
    done = almr(runs / "before", folder, "--same-text", HOSTILE)
    assert done.exit_code == 0, done.output
    assert "A table states no recipe, so none are compared." in done.stdout
    html = (here / "compare.html").read_text(encoding="utf-8")
    assert "<img" not in html
    page = Page(html)
    assert page.data["winners"][1]["name"] == HOSTILE
    assert f"because: {HOSTILE}" in page.text
    assert html.count("<script") == 2
    assert math.isfinite(page.data["winners"][1]["lr"])


def one_line(*arguments):
    done = almr(*arguments)
    assert done.exit_code
    return str(done.exception)


def test_what_cannot_be_compared_is_one_line_with_the_fix(runs, here):
    (here / "unfitted").mkdir()
    bowl_run.write(here / "unfitted", bowl_run.study())
    assert (
        one_line(here / "unfitted", runs / "before") == f"{here / 'unfitted'}: no fit yet: almr fit {here / 'unfitted'}"
    )
    assert one_line(runs / "before") == "1 run: give 2 to 9 fitted runs"
    assert one_line(runs / "before", "gone").startswith("gone: no such run, here or in runs/; start one")
    (here / "t.csv").write_text("almr,lr\n")
    assert one_line("t.csv", runs / "before") == (
        "t.csv: a table: fit it first: almr fit t.csv --out FOLDER, and compare FOLDER"
    )
    assert one_line("gone.csv", runs / "before") == "gone.csv: no such file"
    (here / "mine.html").write_text("<html>my notes")
    pair = runs / "before", runs / "after"
    assert "it is no page of almr compare, and would be lost" in one_line(*pair, "--out", "mine.html")
    assert (here / "mine.html").read_text() == "<html>my notes"
    assert one_line(*pair, "--out", here).startswith(f"--out {here}: a directory: name a file")
    for out, said in (
        ("s3://pages/c.html", "--out s3:/pages/c.html: an address"),
        ("-", "--out -: the page is a file"),
    ):
        assert one_line(*pair, "--out", out).startswith(said)
    (here / "link").symlink_to(runs / "before")
    assert one_line(runs / "before", here / "link").endswith(": given twice: name another run to compare it with")
    assert not (here / "compare.html").exists()


def test_a_page_of_ours_is_replaced_and_a_fit_out_of_date_is_refused(runs, here):
    (here / "compare.html").write_text(f"<head>{STAMP}")
    assert almr(runs / "before", runs / "after").exit_code == 0
    assert len((here / "compare.html").read_text(encoding="utf-8")) > 10_000
    shutil.copytree(runs / "before", here / "changed")
    record = next((here / "changed" / "trials").glob("*/record.json"))
    record.write_text(record.read_text().replace('"attempt":1', '"attempt":2'))
    assert "changed/fit.json is out of date: the run now has 1 changed trial" in one_line(
        here / "changed", runs / "after"
    )
