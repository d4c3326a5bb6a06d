"""Preparation before the first trial: the base model, and the corpora packed with its tokenizer."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sweep.study import LANGUAGES, CorpusFacts, Ingredients, InputError, Study, preparation
from sweep.study.errors import disk_fault
from sweep.study.files import cache
from sweep.study.preparation import BenchmarkData, Preparation
from sweep.study.study import fingerprint_of
from trainers import tiny
from trainers.benchmarks import fetching
from trainers.data import corpus, disk_paths, documents, embedded, hub
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import held_out_texts
from trainers.data.hub import RecordedCommit
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model import smollm, snapshot
from trainers.model.loading import fingerprint, load_tokenizer

log = logging.getLogger(__name__)
Progress = Callable[[str, float | None], None]
BASE_MODEL = "base_model"


@dataclass(frozen=True)
class _BaseModel:
    """`path`: a directory, or a Hugging Face id that each worker downloads itself. `commit`: of a model of the hub."""

    path: str
    commit: str | None = None


@dataclass(frozen=True)
class _Prepared:
    ingredients: Ingredients
    sources: dict[str, DocumentSource]
    tokenizer: TextTokenizer


def prepare(
    study: Study, progress: Progress = lambda phase, share: None, earlier: Ingredients | None = None
) -> Ingredients:
    """Build all that trials share, or find it in the cache.

    What `fetch` recorded for this study is taken without asking the hub. `progress` receives the name of each phase and
    the share of it that is done (None: unknown). `earlier` is what this run was prepared with before: where there is no
    record, and the hub cannot be reached, its commits are used. Raises InputError for a model or a corpus that cannot
    be loaded, and OSError for a full disk.
    """
    recorded = preparation.read(study)
    known = recorded.ingredients if recorded else earlier
    commits = _commits(study, known, ask=recorded is None)
    with _disk_faults():
        return _prepare(study, progress, _base_model(study, progress, commits[BASE_MODEL]), commits).ingredients


def fetch(study: Study, progress: Progress = lambda phase, share: None) -> Preparation:
    """Download, tokenise and pack all that a run of the study needs, at the hub's commits of now, and record it.

    What is in the cache stays as it is. Where the hub cannot be reached, the recorded commits are used. Raises as
    `prepare`, and OSError where the cache cannot be written.
    """
    recorded = preparation.read(study)
    commits = _commits(study, recorded.ingredients if recorded else None, ask=True)
    before = preparation.own_stamps(study)  # before they are read: a later change is then noticed
    with _disk_faults():
        _refuse_unwritable()
        cache.remove_abandoned()
        base = _downloaded(study, progress, commits[BASE_MODEL])
        made = _prepare(study, progress, base, commits, lambda part: preparation.note_finished(study, part, before))
        record = Preparation(
            study=study.name,
            fields=preparation.fields(study),
            ingredients=made.ingredients,
            stamps=before,
            paths=_paths(study, made),
            benchmarks=(recorded.benchmarks if recorded else {}) | _benchmark_data(study),
        )
        preparation.write(record)
    return record


def _commits(study: Study, known: Ingredients | None, ask: bool) -> dict[str, RecordedCommit]:
    recorded = known.commits if known else {}
    return {part: RecordedCommit(recorded.get(part), ask) for part in (BASE_MODEL, *study.corpora.source_names())}


def _prepare(
    study: Study,
    progress: Progress,
    base: _BaseModel,
    commits: dict[str, RecordedCommit],
    finished: Callable[[str], None] = lambda part: None,
) -> _Prepared:
    tokenizer = _tokenizer(study, base)
    base = _with_commit(study, base, commits[BASE_MODEL])
    finished(BASE_MODEL)
    sources: dict[str, DocumentSource] = {}
    folders: dict[str, Path] = {}
    for language in LANGUAGES:
        found = _sources(study, study.corpora.source_names(language), commits, progress)
        folders |= _packed(study, found, tokenizer, progress)
        sources |= found
        for name in found:
            finished(study.corpora.by_name[name].where)
    if study.benchmarks:
        fetching.fetch_all(study.benchmarks, progress)
    progress("fingerprinting the base model", None)
    facts = {name: corpus.open_packed(folder).facts for name, folder in folders.items()}
    _refuse_borders_inside(study, facts)
    now = {name: source.commit for name, source in sources.items()} | {BASE_MODEL: base.commit}
    ingredients = Ingredients(
        base_model=base.path,
        base_model_fingerprint=_fingerprint(study, base),
        folders={name: str(folder) for name, folder in folders.items()},
        corpora=facts,
        commits={part: commit for part, commit in now.items() if commit},
    )
    return _Prepared(ingredients, sources, tokenizer)


def _tokenizer(study: Study, base: _BaseModel) -> TextTokenizer:
    tokenizer = load_tokenizer(study.base_model, base.path)
    found = TextTokenizer(tokenizer, Borders.of(tokenizer, study.documents))
    if study.training.document_masking and not found.borders.ids:
        raise InputError(
            "training.document_masking finds documents by the tokens between them, and there are none: the base "
            "model's tokenizer begins no text with BOS: write documents: {eos: true} or {bos: true}"
        )
    return found


def _refuse_borders_inside(study: Study, corpora: dict[str, CorpusFacts]) -> None:
    for name, facts in corpora.items():
        if study.training.document_masking and facts.borders_inside:
            raise InputError(
                f"training.document_masking: in {facts.borders_inside:,} documents of "
                f"{study.corpora.by_name[name].where} a token of the text is the same as the one between documents: "
                f"give the base model's tokenizer an eos_token that is no text, or write document_masking: false"
            )


def _sources(
    study: Study, names: Sequence[str], commits: dict[str, RecordedCommit], progress: Progress
) -> dict[str, DocumentSource]:
    found = {}
    for name in names:
        progress(f"fingerprinting the {study.source_label(name)} corpus", None)
        source = study.corpora.by_name[name]
        found[name] = documents.resolve(source.spec, source.where, commits[name])
        if study.launch and source.spec.embedded:
            embedded.fetch(source.spec.embedded)  # the launch bundle has a copy, once all trials have run
    return found


def _packed(
    study: Study, sources: dict[str, DocumentSource], tokenizer: TextTokenizer, progress: Progress
) -> dict[str, Path]:
    """The folders of the packed sources of a language. None is trained on what repeats held-out text of another."""

    def pack(name: str, others: Sequence[Path] = ()) -> Path:
        phase = f"tokenising the {study.source_label(name)} corpus"
        length = study.training.sequence_length
        return corpus.prepare(sources[name], tokenizer, length, lambda share: progress(phase, share), others)

    alone = {name: pack(name) for name in sources}
    if len(alone) == 1:
        return alone
    found = {}
    for name in alone:
        progress(f"comparing the {study.source_label(name)} corpus with the held-out text beside it", None)
        others = sorted(folder / held_out_texts.FILE for other, folder in alone.items() if other != name)
        found[name] = pack(name, others)
    return found


def _fingerprint(study: Study, base: _BaseModel) -> str:
    """Of a model of the hub: its name and commit, wherever its files lie."""
    return fingerprint_of([study.base_model.pretrained, base.commit]) if base.commit else fingerprint(Path(base.path))


def _with_commit(study: Study, base: _BaseModel, recorded: RecordedCommit) -> _BaseModel:
    if base.commit or Path(base.path).is_dir():
        return base
    return replace(base, commit=hub.commit(snapshot.repository(study.base_model), recorded))


def _base_model(study: Study, progress: Progress, recorded: RecordedCommit) -> _BaseModel:
    """The model that was downloaded before, else the study's own name of it, which each worker loads."""
    base = study.base_model
    if base.pretrained is None:
        return _BaseModel(str(_embedded(study, progress)))
    if recorded.commit and not recorded.ask:
        if folder := snapshot.find(base, recorded.commit):
            return _BaseModel(str(folder), recorded.commit)
        log.warning(
            "base_model.pretrained: the prepared copy of %s is not in %s any more: loading it from the hub",
            base.pretrained,
            snapshot.repository(base).folder(),
        )
    return _BaseModel(base.pretrained)


def _downloaded(study: Study, progress: Progress, recorded: RecordedCommit) -> _BaseModel:
    """The base model on this machine, downloaded where it is one of the hub."""
    base = study.base_model
    if base.pretrained is None or Path(base.pretrained).is_dir():
        return _base_model(study, progress, recorded)
    progress(f"looking for {base.pretrained} on the hub", None)
    commit = hub.commit(snapshot.repository(base), recorded)
    if commit is None:
        return _BaseModel(base.pretrained)  # not a name of the hub: loading it says what is wrong
    folder = snapshot.find(base, commit) or snapshot.download(base, commit, progress)
    return _BaseModel(str(folder), commit)


def _embedded(study: Study, progress: Progress) -> Path:
    if study.base_model.embedded == "smollm2-135m":
        progress("fetching and converting SmolLM2-135M, once, about a minute", None)
        return smollm.build()
    return tiny.build(lambda share: progress("pre-training the tiny base model, once, about a minute", share))


def _paths(study: Study, made: _Prepared) -> dict[str, tuple[str, ...]]:
    """What the preparation takes on this machine's disk, by part. The user's own files are not counted."""
    own = study.base_model.pretrained == made.ingredients.base_model
    trained_on = list(tiny.sources().values()) if study.base_model.embedded == "tiny" else []
    length = tiny.TRAINING.sequence_length
    texts = [path for source in [*made.sources.values(), *trained_on] for path in disk_paths.text(source)]
    downloads = [path for source in made.sources.values() for path in disk_paths.downloads(source)]
    found = {
        BASE_MODEL: [] if own else [made.ingredients.base_model],
        **{f"corpora.{name}": [folder] for name, folder in made.ingredients.folders.items()},
        "text": [*texts, *(str(corpus.packed_folder(source, made.tokenizer, length)) for source in trained_on)],
        "benchmarks": fetching.folders(study.benchmarks) if study.benchmarks else [],
        "downloads": [*downloads, *(fetching.downloads(study.benchmarks) if study.benchmarks else [])],
    }
    return {part: tuple(dict.fromkeys(paths)) for part, paths in found.items()}


def _benchmark_data(study: Study) -> dict[str, BenchmarkData]:
    """What was fetched for the study's benchmarks, and what could not be."""
    if study.benchmarks is None:
        return {}
    folders, missing = fetching.folders(study.benchmarks), fetching.missing(study.benchmarks)
    return {preparation.benchmarks_key(study.benchmarks): BenchmarkData(folders=tuple(folders), missing=tuple(missing))}


def _refuse_unwritable() -> None:
    """Raises OSError, naming the folder, where the cache cannot be written."""
    root = cache.root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(root)) from None


@contextmanager
def _disk_faults() -> Iterator[None]:
    """Name the cache in the error of a full disk, which libraries wrap in errors of their own."""
    try:
        yield
    except Exception as error:  # each library has errors of its own
        names_its_file = isinstance(error, OSError) and error.filename
        if not names_its_file and (fault := disk_fault(error, str(cache.root()))):
            raise fault from error
        raise
