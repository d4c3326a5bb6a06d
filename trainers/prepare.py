"""Preparation before the first trial: the base model, and the corpora packed with its tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweep.study import LANGUAGES, CorpusFacts, Ingredients, InputError, Study, preparation
from sweep.study.errors import shown
from sweep.study.files import cache, disk, patterns
from sweep.study.preparation import BenchmarkData, Preparation
from sweep.study.sections.text.corpora import Corpus
from sweep.study.study import fingerprint_of
from trainers import tiny
from trainers.benchmarks import fetching
from trainers.data import corpus, disk_paths, documents
from trainers.data.conversations import messages
from trainers.data.conversations import packed as conversations
from trainers.data.conversations.rendering import ChatRenderer
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import excluded, held_out_texts
from trainers.data.origins import hub
from trainers.data.origins.hub import RecordedCommit
from trainers.data.readers.record_text import RecordText
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.base import check
from trainers.model import smollm, snapshot
from trainers.model.base import chat, inspection, resizing
from trainers.model.loading import fingerprint, load_own_tokenizer, load_tokenizer
from trainers.preference import prepared as pairs
from trainers.preference.pairs import PAIRS

Progress = Callable[[str, float | None], None]
BASE_MODEL, TOKENIZER = "base_model", "base_model.tokenizer"
PREPARE = {"cpt": corpus.prepare, "sft": conversations.prepare, "dpo": pairs.prepare}  # what packs a source, by stage
# how a record of a source becomes a document, where it is no plain text
READ_AS: dict[str, Callable[[Corpus], RecordText]] = {"sft": messages.read_as, "dpo": lambda spec: PAIRS}


@dataclass(frozen=True)
class _BaseModel:
    """`path`: a directory that every worker opens. `commits`: of the model, and of its tokenizer, that are on the hub.
    `fingerprint`: of the content.
    """

    path: str
    fingerprint: str = ""
    commits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Prepared:
    ingredients: Ingredients
    sources: dict[str, DocumentSource]
    tokenizer: TextTokenizer


def prepare(
    study: Study, progress: Progress = lambda phase, share: None, earlier: Ingredients | None = None
) -> Ingredients:
    """Build all that trials share, or find it in the cache.

    `progress` receives the name of each phase and the share of it that is done (None: unknown). `earlier` is what this
    run was prepared with before: it keeps those commits. Otherwise those that `fetch` recorded for this study are taken
    without asking the hub. Raises InputError for a model or a corpus that cannot be loaded or is broken, and OSError
    for a full disk.
    """
    recorded = preparation.read(study)
    known = earlier or (recorded.ingredients if recorded else None)
    with disk.naming(cache.root()):
        again = earlier.held_out_again if earlier else {}
        made = _prepare(study, progress, _commits(study, known, ask=known is None), again=again).ingredients
    if earlier:
        made = made.model_copy(update={"same_text": earlier.same_text})
    return made.with_check_of(earlier)


def fetch(study: Study, progress: Progress = lambda phase, share: None) -> Preparation:
    """Download, tokenise and pack all that a run of the study needs, at the hub's commits of now, and record it.

    What is in the cache stays as it is. Where the hub cannot be reached, the recorded commits are used. Raises as
    `prepare`, and OSError where the cache cannot be written.
    """
    recorded = preparation.read(study)
    commits = _commits(study, recorded.ingredients if recorded else None, ask=True)
    before = preparation.own_stamps(study)  # before they are read: a later change is then noticed
    with disk.naming(cache.root()):
        _refuse_unwritable()
        cache.remove_abandoned()
        made = _prepare(study, progress, commits, lambda part: preparation.note_finished(study, part, before))
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
    parts = (BASE_MODEL, TOKENIZER, *study.corpora.source_names())
    return {part: RecordedCommit(recorded.get(part), ask) for part in parts}


def _prepare(
    study: Study,
    progress: Progress,
    commits: dict[str, RecordedCommit],
    finished: Callable[[str], None] = lambda part: None,
    again: Mapping[str, str] = {},
) -> _Prepared:
    """`again`: by source, the packed corpus whose held-out documents are held out again."""
    _refuse_absent(study)
    base = _base_model(study, progress, commits)
    progress("checking the base model", None)
    loaded = load_tokenizer(study.base_model, base.path)
    looked = check.look(study, Path(base.path), loaded, base.fingerprint)
    tokenizer = _tokenizer(study, loaded)
    finished(BASE_MODEL)
    sources: dict[str, DocumentSource] = {}
    folders: dict[str, Path] = {}
    for language in LANGUAGES:
        found = _sources(study, study.corpora.source_names(language), commits, progress)
        folders |= _packed_again(study, found, tokenizer, progress, again)
        sources |= found
        for name in found:
            finished(study.corpora.by_name[name].where)
    if study.benchmarks:
        fetching.fetch_all(study.benchmarks, progress)
    facts = {name: _facts(study, name, folder) for name, folder in folders.items()}
    _refuse_borders_inside(study, facts)
    now = {name: source.commit for name, source in sources.items()} | base.commits
    ingredients = Ingredients(
        base_model=base.path,
        base_model_fingerprint=base.fingerprint,
        folders={name: str(folder) for name, folder in folders.items()},
        corpora=facts,
        commits={part: commit for part, commit in now.items() if commit},
        base_check=looked,
    )
    progress("measuring the base model's loss", None)
    measured = ingredients.model_copy(update={"base_check": check.measure(study, ingredients)})
    return _Prepared(measured, sources, tokenizer)


def _facts(study: Study, name: str, folder: Path) -> CorpusFacts:
    """The counts of a packed source, with the part of it that the study lets trials read."""
    facts, tokens = corpus.open_packed(folder).facts, study.corpora.by_name[name].spec.trial_tokens
    return facts.drawn_from(tokens / study.training.sequence_length) if tokens else facts


def _tokenizer(study: Study, tokenizer: Any) -> TextTokenizer:
    if study.training.stage != "cpt":
        return TextTokenizer(ChatRenderer.of(tokenizer).tokenizer, Borders())  # the template writes all special tokens
    found = TextTokenizer(tokenizer, Borders.of(tokenizer, study.documents))
    if study.training.document_masking and not found.borders.ids:
        raise InputError(
            "training.document_masking finds documents by the tokens between them, and there are none: the base "
            "model's tokenizer begins no text with BOS: write documents: {eos: true} or {bos: true}"
        )
    return found


def _refuse_absent(study: Study) -> None:
    """Before anything is downloaded or tokenised, which may take hours. Raises InputError."""
    for source in study.corpora.by_name.values():
        try:
            for pattern in source.spec.files or ():
                patterns.matching(pattern)
        except InputError as error:
            raise InputError(f"{source.where}: {error}") from None


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
        progress(f"computing checksums of the {study.source_label(name)} corpus", None)
        source = study.corpora.by_name[name]
        found[name] = documents.resolve(source.spec, source.where, commits[name])
    return found


def _packed_again(
    study: Study,
    sources: dict[str, DocumentSource],
    tokenizer: TextTokenizer,
    progress: Progress,
    again: Mapping[str, str],
) -> dict[str, Path]:
    """As `_packed`, with the held-out documents of earlier packed corpora, where the text is not the very same."""
    length = study.training.sequence_length
    kept = {name: replace(source, held_out_of=Path(again[name])) for name, source in sources.items() if name in again}
    text = study.training.stage == "cpt"
    if text and kept and all(corpus.packed_folder(source, tokenizer, length).is_dir() for source in sources.values()):
        plain = _packed(study, sources, tokenizer, progress)
        if all(plain[name].name == Path(again[name]).name for name in kept):
            return plain
    return _packed(study, sources | kept, tokenizer, progress)


def _packed(
    study: Study, sources: dict[str, DocumentSource], tokenizer: TextTokenizer, progress: Progress
) -> dict[str, Path]:
    """The folders of the packed sources of a language. None is trained on what repeats held-out text of another, or
    text that the study excludes.
    """

    def pack(name: str, others: Sequence[Path] = ()) -> Path:
        phase = f"tokenising the {study.source_label(name)} corpus"
        length = study.training.sequence_length
        return PREPARE[study.training.stage](
            sources[name], tokenizer, length, lambda share: progress(phase, share), others
        )

    left_out = {name: excluded.files(study.corpora.by_name[name]) for name in sources}
    alone = {name: pack(name) for name in sources}
    found = {}
    for name in alone:
        beside = [folder / held_out_texts.FILE for other, folder in alone.items() if other != name]
        others = sorted([*beside, *left_out[name]])
        if others:
            progress(f"comparing the {study.source_label(name)} corpus with held-out and excluded text", None)
        found[name] = pack(name, others) if others else alone[name]
    return found


def _base_model(study: Study, progress: Progress, commits: dict[str, RecordedCommit]) -> _BaseModel:
    """The base model on this machine, downloaded where it is on the hub, with the study's tokenizer and template."""
    found = _with_own_rows(study, progress, commits)
    if study.documents.chat_template:
        progress("giving the base model its chat template", None)
    folder, key = chat.build(study.documents, study.base_model, Path(found.path), found.fingerprint)
    return replace(found, path=str(folder), fingerprint=key)


def _with_own_rows(study: Study, progress: Progress, commits: dict[str, RecordedCommit]) -> _BaseModel:
    """With rows for the tokenizer that the study names."""
    base = study.base_model
    found = _own_model(study, progress, commits[BASE_MODEL])
    if not (base.tokenizer or base.new_rows):
        return found
    commit = hub.commit(snapshot.tokenizer_repository(base), commits[TOKENIZER]) if base.tokenizer else None
    old = load_tokenizer(base, found.path)
    new = load_own_tokenizer(base, commit) if base.tokenizer else old
    progress("resizing the base model's embedding for the tokenizer", None)
    folder = resizing.build(base, Path(found.path), found.fingerprint, old, new)
    key = resizing.fingerprint(base, found.fingerprint, new)
    return _BaseModel(str(folder), key, found.commits | ({TOKENIZER: commit} if commit else {}))


def _own_model(study: Study, progress: Progress, recorded: RecordedCommit) -> _BaseModel:
    base = study.base_model
    if base.pretrained is None or Path(base.pretrained).is_dir():
        folder = Path(base.pretrained) if base.pretrained else _embedded(study, progress)
        inspection.refuse_incomplete(folder)
        progress("computing checksums of the base model", None)
        return _BaseModel(str(folder), fingerprint(folder))
    progress(f"looking for {base.pretrained} on the hub", None)
    commit = hub.commit(snapshot.repository(base), recorded)
    if commit is None:
        raise InputError(
            f"base_model.pretrained: {shown(base.pretrained)} is no directory, and no name on the hub: correct it"
        )
    folder = snapshot.find(base, commit) or snapshot.download(base, commit, progress)
    return _BaseModel(str(folder), fingerprint_of([base.pretrained, commit]), {BASE_MODEL: commit})


def _embedded(study: Study, progress: Progress) -> Path:
    if study.base_model.embedded == "smollm2-135m":
        progress("fetching and converting SmolLM2-135M, once, about a minute", None)
        return smollm.build()
    return tiny.build_named(str(study.base_model.embedded), progress)


def _paths(study: Study, made: _Prepared) -> dict[str, tuple[str, ...]]:
    """What the preparation takes on this machine's disk, by part. The user's own files are not counted."""
    own = study.base_model.pretrained == made.ingredients.base_model
    trained_on = list(tiny.sources().values()) if study.base_model.is_tiny else []
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
