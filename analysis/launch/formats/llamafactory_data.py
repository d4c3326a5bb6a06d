"""The corpora in LLaMA-Factory's terms: dataset_info.json, probabilities of documents, and what writes the documents.

Facts of LLaMA-Factory 0.9.5 behind this: `interleave_probs` draws documents, before packing; packing joins them and
cuts blocks of cutoff_len tokens, so the share of tokens follows from that of documents; it adds end-of-text to each
document and no BOS; it reads whole files, so what is left out of them has to be left out before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.launch.formats import documents
from analysis.launch.formats.format import write_json
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.ratio import NOTABLE_SD, almr_sd, document_probabilities
from sweep.study import numbers as formats


@dataclass(frozen=True)
class DocumentMixture:
    """How documents of the corpora in use are drawn."""

    plan: LaunchPlan

    @property
    def lengths(self) -> dict[str, float]:
        """Mean tokens per document."""
        return {source.name: source.tokens_per_document for source in self.plan.used}

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
        found = []
        if self.sd > NOTABLE_SD:
            found.append(
                f"LLaMA-Factory draws whole documents, about {self.draws:,.0f} of them: the achieved ALMR differs from "
                f"{formats.almr(self.plan.almr)} by about {self.sd:.2g} (one standard deviation). Cut long documents "
                f"into shorter ones to lower this"
            )
        return found


def write(plan: LaunchPlan, folder: Path) -> None:
    """Write dataset_info.json, corpora.json and write_jsonl.py, which writes the data sets from it."""
    sets = [*plan.shares, *map(documents.HELD_OUT.format, plan.evaluation_files)]
    entries = {name: {"file_name": f"data/{name}.jsonl", "columns": {"prompt": "text"}} for name in sets}
    write_json(folder / "dataset_info.json", entries)
    write_json(folder / "corpora.json", documents.content(plan, folder))
    documents.write_scripts(plan, folder, "write_jsonl")
