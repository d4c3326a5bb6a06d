"""An upper bound of the disk space that a study takes, part by part: what is prepared for its run, and the run itself.

What is prepared lies in `$ALMR_CACHE` (files of the hub: in huggingface_hub's cache). Once it is there it is measured.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.study import LANGUAGES, Study
from sweep.study.sections.corpora import Corpus
from sweep.study.sections.transfer import Confirmation
from sweep.study.sizes.shape import FLOAT32, MOMENTS, Shape
from trainers.benchmarks import catalogue

Parts = dict[str, float | None]
TOKEN = 4.04  # bytes of a packed token: an int32, and what an arrow file adds
LINE = 400  # bytes: one line of metrics.jsonl and its TensorBoard events
TRIAL_FILES = 32 * 1024  # bytes: record, log, headers of event files
RUN_FILES = 8e6  # bytes: staged code, report, figures and tables of a run
CORPUS_FILES = 64 * 1024  # bytes: descriptions of the files of a packed corpus
EMBEDDED_TEXTS = {"shakespeare": 5_509_841, "three-kingdoms": 1_795_063, "chinese-poetry": 75_032_068}  # bytes, fetched
EMBEDDED_MODELS = {"tiny": 2.4e6, "smollm2-135m": 0.55e9}  # bytes, as converted
ARCHIVES = {"tiny": 0.0, "smollm2-135m": 0.2e9}  # bytes, while a model is converted
TINY_CORPORA = {"shakespeare": 2_124_326, "three-kingdoms": 708_081}  # tokens of the text that `tiny` is trained on
TINY_LENGTH = 128  # tokens of a block of it
TOKENIZER = 40e6  # bytes, at most: tokenizer and configuration of a model of the hub
PLAIN, LINES = (".txt", ".md"), (".jsonl", ".json")
COPY = 1.1  # bytes of a copy of documents in UTF-8, with their number, to those of their plain files
LARGEST_CHARACTERS = 2  # bytes of a character in UTF-8 to those in another encoding
STATED = 1.05  # the `tokens` of a corpus are stated with two or three digits


@dataclass(frozen=True)
class Disk:
    """Bytes of each part, None where it is not known. Upper bounds; with `measured` those of PREPARED are real.

    `text`: copies of the documents that were read to be tokenised. `temporary`: besides, while a model is converted or
    the largest corpus packed. `checkpoints`: two for each trial that runs at once, because the old one is deleted after
    the new one is written. `models`: the saved models (`keep`), and the space for writing one: with `best` the previous
    one still exists, and the workers of a sharded model write their parts before the whole. `bundle`: the launch
    bundle, which has copies of embedded texts.
    """

    prepared: Parts
    run: Parts
    measured: bool = False

    @property
    def parts(self) -> Parts:
        return self.prepared | self.run

    @property
    def total(self) -> float | None:
        return _sum(self.parts)

    @property
    def run_bytes(self) -> float:
        """The run directory's part, as far as it is known."""
        return sum(size for size in self.run.values() if size is not None)

    @property
    def to_prepare(self) -> float | None:
        """What has yet to be written into the cache."""
        return 0 if self.measured else _sum(self.prepared)


def _sum(parts: Parts) -> float | None:
    known = [size for size in parts.values() if size is not None]
    return sum(known) if len(known) == len(parts) else None


def disk(
    study: Study, shape: Shape | None, trials: int, at_once: int | None, sizes: dict[str, int] | None = None
) -> Disk:
    """`at_once`: trials that run in parallel. `sizes`: the measured bytes of what was prepared; None: estimate them."""
    run = {
        "checkpoints": _checkpoints(study, shape, min(at_once, trials) if at_once else None),
        "models": _models(study, shape, trials),
        "bundle": _bundle(study),
        "logs": RUN_FILES + trials * (TRIAL_FILES + LINE * _lines(study)),
    }
    if sizes is None:
        return Disk({} if study.replay else _prepared(study, shape), run)
    corpora = sum(sizes[f"corpora.{language}"] for language in LANGUAGES)
    others = {part: float(size) for part, size in sizes.items() if not part.startswith("corpora.")}
    return Disk({"base model": others.pop("base_model"), "corpora": corpora, **others}, run, measured=True)


def _prepared(study: Study, shape: Shape | None) -> Parts:
    specs: list[Corpus] = [getattr(study.corpora, language) for language in LANGUAGES]
    packed = [_times(TOKEN, most_tokens(spec), CORPUS_FILES) for spec in specs]
    archive = ARCHIVES.get(study.base_model.embedded or "", 0.0)
    return {
        "base model": _base_model(study, shape),
        "corpora": _all(packed, sum),
        "text": _all([*map(_text, specs), _tiny_text(study, specs)], sum),
        "temporary": _all([*packed, archive], max),
        "benchmarks": None if study.benchmarks and catalogue.harness_tasks(study.benchmarks) else 0,
        "downloads": _all([_download(spec) for spec in specs], sum),
    }


def _times(factor: float, size: float | None, more: float = 0) -> float | None:
    return None if size is None else factor * size + more


def _all(sizes: list[float | None], combine: Callable[[list[float]], float]) -> float | None:
    known = [size for size in sizes if size is not None]
    return combine(known) if len(known) == len(sizes) else None


def _base_model(study: Study, shape: Shape | None) -> float | None:
    base = study.base_model
    if base.embedded:
        return EMBEDDED_MODELS[base.embedded]
    if Path(base.pretrained or "").is_dir():
        return 0
    return _times(FLOAT32, shape.parameters if shape else None, TOKENIZER)


def most_tokens(corpus: Corpus) -> float | None:
    """An upper bound of a corpus' tokens: as stated, else one for each byte of its text; None: not known."""
    if corpus.tokens:
        return STATED * corpus.tokens
    if corpus.embedded:
        return EMBEDDED_TEXTS[corpus.embedded]
    return None if corpus.documents else _characters(corpus)


def plain_files(corpus: Corpus) -> list[Path] | None:
    """The local files of a corpus, where their size tells that of the text; None for compressed ones and parquet."""
    paths = {Path(file) for pattern in corpus.files or () for file in glob.glob(pattern, recursive=True)}
    suits = paths and all(path.suffix.lower() in (*PLAIN, *LINES) and path.is_file() for path in paths)
    return sorted(paths) if suits else None


def _characters(corpus: Corpus) -> float | None:
    """Bytes of the text of local files as UTF-8, at most."""
    files = plain_files(corpus)
    wider = 1 if corpus.encoding.lower().replace("-", "") in ("utf8", "ascii") else LARGEST_CHARACTERS
    return None if files is None else wider * sum(file.stat().st_size for file in files)


def _text(corpus: Corpus) -> float | None:
    """An embedded text lies there twice: as it was fetched, and as `datasets` reads it. Plain text is written as JSON
    Lines for other trainers. The first `documents` of a data set of the hub are read as a stream.
    """
    if corpus.embedded:
        return 2 * COPY * EMBEDDED_TEXTS[corpus.embedded]
    if corpus.dataset:
        return 0 if corpus.documents else None
    files = plain_files(corpus)
    copies = 2 if files and files[0].suffix.lower() in PLAIN else 1
    return _times(copies * COPY, _characters(corpus), CORPUS_FILES)


def _tiny_text(study: Study, specs: list[Corpus]) -> float:
    """The text that the embedded tiny model is trained on, where the study's own corpora are others."""
    if study.base_model.embedded != "tiny":
        return 0
    plain = [
        Corpus(embedded=spec.embedded, tokens=spec.tokens, language=spec.language) for spec in specs if spec.embedded
    ]
    shared = study.training.sequence_length == TINY_LENGTH and plain == specs
    packed = 0.0 if shared else sum(TOKEN * tokens + CORPUS_FILES for tokens in TINY_CORPORA.values())
    others = TINY_CORPORA.keys() - {spec.embedded for spec in specs}
    return packed + sum(2 * COPY * EMBEDDED_TEXTS[name] for name in others)


def _download(corpus: Corpus) -> float | None:
    return None if corpus.dataset and not corpus.documents and not Path(corpus.dataset).is_dir() else 0


def _bundle(study: Study) -> float:
    """Each format of the launch, and of each confirmation run, has its own copy of an embedded text."""
    if study.launch is None:
        return 0
    texts = [EMBEDDED_TEXTS[name] for language in LANGUAGES if (name := getattr(study.corpora, language).embedded)]
    confirm = study.launch.transfer.confirm if study.launch.transfer else Confirmation()
    return len(study.launch.formats) * (1 + confirm.runs) * (sum(texts) + CORPUS_FILES)


def _checkpoints(study: Study, shape: Shape | None, at_once: int | None) -> float | None:
    if study.execution.checkpoint_minutes is None:
        return 0
    if shape is None or at_once is None:
        return None
    return 2 * at_once * checkpoint_bytes(study, shape)


def checkpoint_bytes(study: Study, shape: Shape) -> float:
    """Bytes of one checkpoint: float32 weights and the optimizer's moments."""
    return (FLOAT32 + MOMENTS[study.training.optimizer.state]) * shape.parameters


def _models(study: Study, shape: Shape | None, trials: int) -> float | None:
    if study.keep == "none":
        return 0
    if shape is None:
        return None
    bfloat16_on_gpu = bool(study.resources.gpus) and study.training.precision == "bfloat16"
    sharded = study.resources.worker_group or bfloat16_on_gpu
    copies = {"best": min(2, trials), "all": trials}[study.keep] + (1 if sharded else 0)
    return FLOAT32 * shape.parameters * copies


def _lines(study: Study) -> int:
    training = study.training
    steps = training.steps + training.branch_steps
    evaluations = training.steps // training.evaluate_every if training.evaluate_every else 0
    return steps // training.log_every + evaluations + 4 * (1 + len(training.horizons))
