"""After a new fit, the bundle and the report of the earlier one are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.fit_file.outdated import outdated
from analysis.launch.bundle import FittedRun, export
from analysis.report.page import write_report


def test_outputs_of_an_earlier_fit_are_named_with_the_verb_that_renews_them(make_fit, corpora, run):
    fit = make_fit()
    (run / "fit.json").write_text(fit.file.model_dump_json())
    export(FittedRun(fit, run, corpora), run / "launch")
    write_report(fit, run)
    assert outdated(run) == []
    (run / "fit.json").write_text(fit.file.model_dump_json(indent=1))
    old = ["launch/ is from an earlier fit: almr export demo", "report.html is from an earlier fit: almr report demo"]
    assert outdated(run, "demo") == old
    write_report(fit, run)
    assert outdated(run, "demo") == old[:1]
    export(FittedRun(fit, run, corpora), run / "launch")
    assert outdated(run, "demo") == []


@pytest.mark.parametrize("evidence", [None, "[]", "{cut", '{"schema_version": 5}', '{"fit_sha256": null}'])
def test_outputs_that_name_no_fit_are_passed_over(tmp_path: Path, evidence: str | None) -> None:
    (tmp_path / "launch").mkdir()
    if evidence:
        (tmp_path / "launch" / "evidence.json").write_text(evidence)
        (tmp_path / "report.html").write_text("<html>")
    assert outdated(tmp_path) == []
    (tmp_path / "fit.json").write_text("{}")
    assert outdated(tmp_path) == []
