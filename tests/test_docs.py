"""What the documents say is true of the code, and the generated pages are up to date."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import analysis
from analysis.fit_file.fit_file import FitFile
from sweep.external.command import answer
from sweep.external.command.request import CommandRequest, RequestedLanguage
from sweep.study import Record, Schema
from sweep.study.files.layout import Entry, RunFiles, ScoreFiles, TrialFiles
from sweep.study.sections.recipe.training import Optimizer
from tests import demo_run, docs_outputs, docs_pages, rooms, study_fields
from tests import docs_checks as checks
from tests.rooms import ROOT

OUTSIDE = {".venv", ".venvs", "runs"}
PAGES = sorted(p for p in ROOT.rglob("*.md") if not OUTSIDE & set(p.relative_to(ROOT).parts))
MANUAL = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLES = "CommandRequest", "CommandAnswer"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GENERATED = docs_pages.pages()


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


Check = Callable[[str, Path], Iterator[str]]
CHECKS: dict[Check, str] = {
    checks.bad_spans: "`almr\nplan`",
    checks.bad_lines: "MATRIX",
    checks.bad_links: "[one](docs/none.md)",
    checks.bad_commands: "```sh\nalmr plan demo --chek\n```",
    checks.bad_fields: "`training.tokns`",
    checks.bad_paths: "`sweep/none.py`",
    checks.bad_words: "the best dial",
    checks.bad_studies: "```yaml\ngrid: {almr: [5], lr: [1e-3]}\n```",
}
EXEMPT: dict[str, set[Check]] = {
    "glossary.md": {checks.bad_words},  # it lists them
    "modules.md": {checks.bad_words, checks.bad_lines},  # written from docstrings, as is
}
MORE_FAULTS = [
    (checks.bad_lines, "word " * 25),
    (checks.bad_lines, "TODO: say more"),
    (checks.bad_links, "[one](README.md#none)"),
    (checks.bad_commands, "```sh\nmake nothing\n```"),
    (checks.bad_commands, "```sh\npython tests/benchmarks/none.py\n```"),
    (checks.bad_commands, "```sh\nX=1 sweep/cluster/none.sh\n```"),
    (checks.bad_commands, "```sh\nalmr none demo\n```"),
    (checks.bad_commands, "with `almr plan --chek`"),
    (checks.bad_studies, "```yaml\ngrid: {almr: [0.5], lr: [1e-3]}\n---\ngrids: 1\n```"),
]


@pytest.mark.parametrize("page", MANUAL, ids=name_of)
def test_a_page_says_what_the_code_does(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = {check.__name__: list(check(text, page)) for check in CHECKS if check not in EXEMPT.get(page.name, ())}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize(("check", "fault"), [*CHECKS.items(), *MORE_FAULTS])
def test_a_fault_in_a_page_is_found(check: Check, fault: str) -> None:
    assert list(check(fault, ROOT / "README.md"))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in MANUAL], ids=name_of)
def test_every_link_of_the_other_pages_leads_somewhere(page: Path) -> None:
    assert list(checks.bad_links(page.read_text(encoding="utf-8"), page)) == []


@pytest.mark.parametrize("page", GENERATED, ids=name_of)
def test_a_generated_page_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == GENERATED[page], "run make docs"


@pytest.mark.parametrize("block", docs_outputs.shown(), ids=lambda block: f"{block.page.name}: {block.command}")
def test_an_output_that_a_page_shows_is_what_the_command_prints(block: docs_outputs.ShownOutput) -> None:
    assert block.lines == docs_outputs.output(block.command, block.count), "run make docs-outputs"


def test_a_renamed_module_is_where_the_changelog_says() -> None:
    rows = re.findall(r"^\| .*\.py` \| (`.+?) \|$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    places = [place for row in rows for place in re.findall(r"`(.+?)`", row)]
    assert len(places) > 30
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_shown_outputs_are_found() -> None:
    assert {"README.md", "sizing.md", "tables.md"} <= {block.page.name for block in docs_outputs.shown()}


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1800


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        waiting += {found for t in targets if (found := (page.parent / t).resolve()).exists()} - reached
    assert set(MANUAL) <= reached


def test_every_verb_is_described() -> None:
    assert set(re.findall(r"^\| `almr (\w+)", README, flags=re.MULTILINE)) == set(checks.verbs())


def test_every_study_field_has_its_row() -> None:
    page = doc("study.md")
    headings = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    bodies = re.split(r"^## .*$", page, flags=re.MULTILINE)[1:]
    rows = {
        f"{place}.{field}".lstrip(".")
        for heading, body in zip(headings, bodies, strict=True)
        for place in (re.findall(r"`(.+?)`", heading) or [""])
        for field in re.findall(r"^\| `(\w+)` \|", body, flags=re.MULTILINE)
    }
    assert rows == study_fields.paths()


def test_the_map_names_every_folder_and_the_figure_only_folders_that_exist() -> None:
    page = doc("architecture.md")
    assert {f"{folder.path}/" for folder in rooms.folders()} <= set(re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE))
    figure = (ROOT / "docs" / "figures" / "rooms.svg").read_text(encoding="utf-8")
    shown = re.findall(r">((?:sweep|trainers|analysis)(?:/\w+)?)/?<", figure)
    assert len(shown) > 15
    assert all((ROOT / folder).is_dir() for folder in shown)


def test_every_file_of_a_run_is_on_its_page() -> None:
    page = doc("run_directory.md")
    run = RunFiles(Path("run"))
    trial = run.trial("one")
    files = [
        getattr(place, name)
        for place in (run, trial, run.base)
        for kind in (RunFiles, TrialFiles, ScoreFiles)
        if isinstance(place, kind)
        for name, member in vars(kind).items()
        if isinstance(member, Entry)
    ]
    names = {path.name for path in [*files, run.base.folder, trial.log(), trial.log(1), trial.torchrun_log(0)]}
    assert len(names) > 20
    assert not {name for name in names if name not in page}


@pytest.mark.parametrize(("section", "schema"), [("record.json", Record), ("fit.json", FitFile)])
def test_every_field_of_a_runs_files_is_explained(section: str, schema: type[Schema]) -> None:
    text = doc("run_directory.md").split(f"## `{section}`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(schema.model_fields)


def test_every_extra_and_variable_is_explained() -> None:
    text = doc("README.md").split("## Installation")[1].split("\n## ")[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"^\| `([a-z0-9]+)` \|", text, flags=re.MULTILINE)) == set(extras) - {"dev", "test"}
    assert checks.variables() <= set(re.findall(r"`(ALMR_\w+)`", text))
    assert len(checks.variables()) > 4


def test_the_glossary_is_sorted_and_every_term_is_used() -> None:
    assert checks.terms() == sorted(set(checks.terms()), key=lambda term: term.lower().replace("-", " "))
    others = " ".join(page.read_text(encoding="utf-8") for page in MANUAL if page.name != "glossary.md")
    plain = re.sub(r"\s+", " ", others).lower()
    assert not [term for term in checks.terms() if not re.search(rf"\b{term.lower()}s?\b", plain)]
    assert len(checks.private_words()) > 4


def test_every_refusal_and_warning_is_explained() -> None:
    page = doc("report.md")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, flags=re.MULTILINE)) == checks.codes()


def test_a_quoted_message_is_one_of_the_code() -> None:
    page = doc("troubleshooting.md")
    assert len(checks.symptoms(page)) > 30
    assert list(checks.bad_symptoms(page)) == []
    assert list(checks.bad_symptoms("| `no such message here` | a | b |"))


def test_the_answer_that_the_page_shows_is_one() -> None:
    (example,) = checks.blocks(doc("trainers.md"), "json")
    found = answer.parse(json.loads(example), "answer.json")
    assert found.steps * 2048 == sum(found.tokens.values())  # a batch of the demo
    assert Path(found.model or "").is_absolute()
    assert found.logged


def test_the_types_of_a_requests_and_an_answers_fields_are_those_of_json() -> None:
    rows = {name: dict(re.findall(r"`(\w+)` \| ([^|]+) \|", "\n".join(docs_pages.fields(name)))) for name in TABLES}
    assert [rows["CommandAnswer"][name] for name in ("trainer", "model")] == ["text", "text"]
    assert rows["CommandAnswer"]["tokens"] == "object: name to whole number"
    assert rows["CommandAnswer"]["schema_version"] == rows["CommandRequest"]["steps"] == "whole number"
    assert rows["CommandRequest"]["document_masking"] == "true or false"
    assert rows["CommandRequest"]["lr_by_step"] == "list: number"
    assert rows["CommandRequest"]["optimizer"] == "object"


def test_a_request_names_each_constant_of_the_optimizer_and_of_a_language() -> None:
    for name, inner in (("optimizer", Optimizer), ("languages", RequestedLanguage)):
        text = CommandRequest.model_fields[name].description or ""
        assert set(inner.model_fields) <= set(re.findall(r"`(\w+)`", text))


def test_the_packages_docstring_has_the_example_of_the_page() -> None:
    example = checks.blocks(doc("api.md"), "python")[0]
    shown = textwrap.dedent((analysis.__doc__ or "").split("in this example:\n")[1])
    assert shown.split() == example.split()


@pytest.mark.slow
def test_the_examples_of_the_python_api_print_what_the_page_shows(tmp_path: Path) -> None:
    page = doc("api.md")
    examples, shown = checks.blocks(page, "python"), checks.blocks(page, "text")
    assert len(examples) == len(shown) == 2
    demo_run.write(tmp_path / "runs" / "demo")
    for example, expected in zip(examples, shown, strict=True):
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected


def test_every_public_name_is_documented() -> None:
    rows = re.findall(r"^\| (`.+?) \|", doc("api.md"), flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)", row)} == set(analysis.__all__)
