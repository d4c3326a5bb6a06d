"""The report's table of the corpora: what was trained on, held out and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweep.study import CorpusFacts, Study
from sweep.study.files.layout import RunFiles
from sweep.study.ingredients import read_ingredients
from sweep.study.numbers import percent

HEADS = (
    "corpus",
    "documents to train on",
    "tokens to train on",
    "documents held out",
    "tokens held out",
    "copies dropped",
    "near-copies dropped",
)


@dataclass(frozen=True)
class CorpusTable:
    """`borders`: the special tokens between documents, in words. `base_model`: what was found of it on this text."""

    rows: list[list[str]]
    borders: str
    base_model: list[str]


def table(study: Study | None, run: Path) -> CorpusTable | None:
    """None where the trials have no corpora: a replayed study, or a table of others."""
    made = read_ingredients(RunFiles(run).ingredients)
    if study is None or made is None:
        return None
    facts = made.corpora
    known, label = study.corpora.by_name, study.source_label
    rows = [_row(label(name), one) for name, one in facts.items() if name in known]
    found = made.base_check.lines(lambda name: label(name) if name in known else name) if made.base_check else []
    return CorpusTable(rows, _borders(study, list(facts.values())), found)


def _row(label: str, facts: CorpusFacts) -> list[str]:
    return [
        label,
        f"{facts.documents:,}",
        f"{facts.tokens:,}",
        f"{facts.held_out_documents:,}",
        f"{facts.held_out_tokens:,} ({percent(facts.held_out_share, 1)} of all)",
        _count(facts.copies, facts.copied_tokens),
        _count(facts.near_copies, facts.near_copied_tokens),
    ]


def _count(documents: int | None, tokens: int | None) -> str:
    """A dash for a corpus of an older version, in which nothing was looked for."""
    return "-" if documents is None else f"{documents:,} ({tokens:,} tokens)" if documents else "0"


def _borders(study: Study, corpora: list[CorpusFacts]) -> str:
    if study.training.stage != "cpt":
        return f"Documents are written by the chat template {study.documents.chat_template or 'of the base model'}."
    first = any(facts.bos for facts in corpora)
    last = any(facts.eos for facts in corpora)
    begins = "begins with BOS" if first else "begins without BOS"
    return f"Each document {begins} and ends {'with' if last else 'without'} end-of-text."
