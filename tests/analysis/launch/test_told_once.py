"""Nothing is told twice: each sentence of a bundle's pages and of the heads of its settings is in one place."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from analysis.launch.bundle import FORMATS, FittedRun, export

SETTINGS = {"native": "study.yaml", "llamafactory": "llamafactory.yaml", "torchtitan": "almr_launch.py"}
PARITY = "no parity run shows that this trainer"  # the first line of each file that somebody may open alone
LEAST_WORDS = 7


def sentences(text: str) -> list[str]:
    """Of prose, of list items and of cells of tables, without marks."""
    pieces = re.split(r"(?<=[.;:])\s|\n\n|\n(?=[-|#])|\|", re.sub(r"\n(?![\n|#-])", " ", text))
    plain = (re.sub(r"[*`#]", "", piece).strip(" -.;:") for piece in pieces)
    return [piece for piece in plain if len(piece.split()) >= LEAST_WORDS and PARITY not in piece]


def head(text: str) -> str:
    """The comment at the top of a file, as prose."""
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n\n".join(line.removeprefix("#").strip() for line in lines[:end])


@pytest.fixture
def refused(make_fit, corpora, run, refusal, warning):
    """A bundle of a refused fit with warnings, in a format: the most that a bundle has to say."""

    def made(name):
        two = [warning, warning.model_copy(update={"code": "misfit", "message": "the surface misses trials widely"})]
        fit = make_fit(refusals=[refusal], warnings=two)
        export(FittedRun(fit, run, corpora), run / "launch", accept_risk="the cluster is free", formats=(name,))
        return run / "launch"

    return made


@pytest.mark.parametrize("name", SETTINGS)
def test_no_sentence_of_a_bundle_is_told_twice(refused, name):
    out, places = refused(name), defaultdict(list)
    pages = {page: (out / page).read_text() for page in ("GO.md", "README.md")}
    pages[name] = head((out / name / SETTINGS[name]).read_text())
    for page, text in pages.items():
        for sentence in sentences(text):
            places[sentence].append(page)
    assert {sentence: where for sentence, where in places.items() if len(where) > 1} == {}
    assert sum(len(where) for where in places.values()) > 10


@pytest.mark.parametrize("name", FORMATS)
def test_a_warning_and_the_suggested_trials_are_in_one_place(refused, refusal, warning, name):
    out = refused(name)
    texts = [path.read_text() for path in out.rglob("*") if path.suffix in (".md", ".yaml", ".py", ".txt", ".sh")]
    for told in (refusal.message, warning.message, "Suggested trials (ALMR / LR)", "the cluster is free"):
        assert sum(text.count(told) for text in texts) == 1, told
