"""Estimates what it takes to prepare the launch's text, before a GPU starts: disk, and time to tokenise it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from analysis.launch.plan.estimate import HOUR
from analysis.launch.plan.source import LaunchCorpus
from sweep.study import Study, numbers

TOKEN = 4  # bytes of a packed token
LEAST = 0.1  # hours that are told
MEANWHILE = 2  # of a packed corpus: what it is made from, until it is saved
BYTES = {
    "llamafactory": (4, 12),
    "axolotl": (8, 12),
    "trl": (12, 12),
    "torchtitan": (4, 4),
}  # of a token, without and with masks
SEARCH, TOKENISING = 14.8e6, 3.0  # bytes a second of the search for near-copies, and how much longer tokenising takes
ORIGIN = "one core of an AMD EPYC, 2026-11-28, tests/benchmarks/RESULTS.md"
MUCH = 0.8  # of a corpus: who reads less need not tokenise all of it
ROOM = 1.1  # documents to those that are read on average: some are held out, and lengths vary


def text_lines(study: Study, sources: Collection[LaunchCorpus], names: Iterable[str]) -> list[str]:
    """In words: what all formats share, what each adds, and which corpora are larger than what is read.
    `sources` have the largest share that the launch may give them.
    """
    unknown = [source.name for source in sources if source.tokenised is None]
    if unknown:
        return [f"disk and time of tokenising: not known: state launch.corpora with the tokens of {', '.join(unknown)}"]
    sizes = [TOKEN * (source.tokenised or 0) for source in sources]
    peak = numbers.size(sum(sizes) + MEANWHILE * max(sizes))
    read = sum((source.tokenised or 0) / source.measured.tokens_per_byte for source in sources)
    hours = read * (1 + TOKENISING) / SEARCH / HOUR
    work = f"about {numbers.quantity(hours)}" if hours >= LEAST else f"under {LEAST}"
    shared = (
        f"tokenising: {numbers.tokens(sum(sizes) / TOKEN)} tokens, {work} processor-hours "
        f"(at {SEARCH / (1 + TOKENISING) / 1e6:.1f} MB/s: {ORIGIN}); {numbers.size(sum(sizes))} in ALMR_CACHE, "
        f"{peak} meanwhile"
    )
    excesses = filter(None, (_excess(study, source) for source in sources))
    packed = ", ".join(_packed(sources, names, study.training.document_masking, sum(sizes)))
    return [shared, *([f"packed text: {packed} more"] if packed else []), *excesses]


def _packed(sources: Collection[LaunchCorpus], names: Iterable[str], masks: bool, shared: float) -> Iterator[str]:
    """The disk of each format's own files. Megatron-LM has all of the corpora, our own trainer reads the cache."""
    tokens = next(iter(sources)).launch_tokens
    for name in names:
        if name in BYTES:
            yield f"{name} {numbers.size(BYTES[name][masks] * tokens)}"
        elif name == "megatron":
            yield f"{name} {numbers.size(shared)}"


def _excess(study: Study, source: LaunchCorpus) -> str | None:
    needed, there = source.share * source.launch_tokens, source.tokenised or 0
    if not needed or needed > MUCH * there:
        return None
    documents = round(float(f"{ROOM * needed / source.tokens_per_document:.2e}"))
    return (
        f"tokenising: the launch reads {numbers.percent(needed / there)} of {source.label(study)}: state documents: "
        f"{documents} for launch.corpora.{source.name} to tokenise only that"
    )
