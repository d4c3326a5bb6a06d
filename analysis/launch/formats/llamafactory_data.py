"""The corpora in LLaMA-Factory's terms: dataset_info.json, its files, and probabilities of documents.

Facts of LLaMA-Factory 0.9.5 behind this: `interleave_probs` draws documents, before packing; packing joins them and
cuts blocks of cutoff_len tokens, so the share of tokens follows from that of documents; a dataset is one file or one
whole folder, and its type is read from the file name; a data file is read as UTF-8; a hub dataset cannot be pinned.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.launch.formats import documents
from analysis.launch.formats.format import write_json
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.ratio import NOTABLE_SD, almr_sd, document_probabilities
from analysis.launch.plan.source import LaunchCorpus
from sweep.study import InputError
from sweep.study import numbers as formats
from sweep.study.files import patterns

SUFFIXES = (".jsonl", ".json", ".parquet")
HELD_OUT = "_held_out"  # after the language, in the name of its evaluation set


@dataclass(frozen=True)
class DocumentMixture:
    """How documents of the corpora in use are drawn."""

    plan: LaunchPlan

    @property
    def lengths(self) -> dict[str, float]:
        """Mean tokens per document."""
        return {source.name: source.facts.tokens_per_document for source in self.plan.used}

    @property
    def probabilities(self) -> dict[str, float]:
        """Of a document of each corpus."""
        return document_probabilities(self.plan.shares, self.lengths)

    @property
    def strategy(self) -> str:
        """`interleave_over` repeats the smaller corpora until all are used up, so that the ratio holds.

        Without repetition, `interleave_under` (stop where the first is used up) holds it too, is tokenised faster, and
        uses each document once.
        """
        repeats = any(source.epochs and source.epochs > 1 for source in self.plan.used)
        return "interleave_over" if repeats else "interleave_under"

    @property
    def draws(self) -> float:
        """Documents in the interleaved set. It is drawn once, then packed; every epoch shuffles its blocks."""
        drawn = self.probabilities
        until = [source.documents / drawn[source.name] for source in self.plan.used if source.documents]
        end = max if self.strategy == "interleave_over" else min
        return end(until, default=float("inf"))

    @property
    def sd(self) -> float:
        """Standard deviation of the achieved ALMR, from the drawing of documents."""
        return almr_sd(self.plan.shares, self.probabilities, self.plan.additional, self.draws)

    @property
    def warnings(self) -> list[str]:
        found = [
            f"LLaMA-Factory cannot pin a revision: it reads the newest one of {s.spec.dataset}, not {s.spec.revision}"
            for s in self.plan.used
            if s.spec.dataset and s.spec.revision
        ]
        if self.sd > NOTABLE_SD:
            found.append(
                f"LLaMA-Factory draws whole documents, about {self.draws:,.0f} of them: the achieved ALMR differs from "
                f"{formats.almr(self.plan.almr)} by about {self.sd:.2g} (one standard deviation). Cut long documents "
                f"into shorter ones to lower this"
            )
        return found


def write(plan: LaunchPlan, folder: Path) -> None:
    """Write dataset_info.json, with one dataset per corpus, under its name, and the files."""
    entries = {source.name: _entry(source, folder) for source in plan.used}
    for language, file in plan.evaluation_files.items():
        entries[language + HELD_OUT] = {"file_name": file, "columns": {"prompt": "text"}}
    write_json(folder / "dataset_info.json", entries)


def _entry(source: LaunchCorpus, folder: Path) -> dict[str, Any]:
    columns = {"columns": {"prompt": source.field}}
    spec = source.spec
    if spec.dataset and not source.rewritten:
        subset = {"subset": spec.config} if spec.config else {}
        return {"hf_hub_url": spec.dataset, **subset, "split": spec.split, **columns}
    place = documents.copied if spec.embedded else _refer
    return {"file_name": place(source, folder), **columns}


def _refer(source: LaunchCorpus, folder: Path) -> str:
    """One file by its path; several files, or a name with another suffix, through a folder of links."""
    files = documents.paths(source)
    suffixes = [_suffix(file, source) for file in files]
    if len(files) == 1 and files[0].endswith(suffixes[0]):
        return files[0]
    name = f"data/{source.name}"
    (folder / name).mkdir(parents=True)
    for i, (file, suffix) in enumerate(zip(files, suffixes, strict=True)):
        (folder / name / f"{i:05d}{suffix}").symlink_to(file)
    return name


def _suffix(file: str, source: LaunchCorpus) -> str:
    where = f"corpora.{source.name}"
    suffix = patterns.suffix(file)
    if suffix not in SUFFIXES:
        raise InputError(f"{where}.files: LLaMA-Factory does not read {file}: give {', '.join(SUFFIXES)}")
    encoding = source.spec.encoding
    if suffix != ".parquet" and not source.rewritten and codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        raise InputError(f"{where}.encoding: LLaMA-Factory reads UTF-8 only: convert {file} from {encoding}")
    return suffix
