"""The base model that trials continue from, on this machine, with the study's tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweep.study import InputError, Study
from sweep.study.errors import shown
from sweep.study.study import fingerprint_of
from trainers import tiny
from trainers.data.conversations.rendering import ChatRenderer
from trainers.data.origins import hub
from trainers.data.origins.hub import RecordedCommit
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model import smollm, snapshot
from trainers.model.base import chat, inspection, resizing
from trainers.model.loading import fingerprint, load_own_tokenizer, load_tokenizer

Progress = Callable[[str, float | None], None]  # a phase by its name, and the share of it that is done (None: unknown)
BASE_MODEL, TOKENIZER = "base_model", "base_model.tokenizer"


@dataclass(frozen=True)
class BaseModel:
    """`path`: a directory that every worker opens. `commits`: of the model, and of its tokenizer, that are on the hub.
    `fingerprint`: of the content.
    """

    path: str
    fingerprint: str = ""
    commits: dict[str, str] = field(default_factory=dict)


def prepared(study: Study, progress: Progress, commits: dict[str, RecordedCommit]) -> BaseModel:
    """The base model on this machine, downloaded where it is on the hub, with the study's tokenizer and template."""
    own = _with_own_rows(study, progress, commits)
    if study.documents.chat_template:
        progress("giving the base model its chat template", None)
    folder, key = chat.build(study.documents, study.base_model, Path(own.path), own.fingerprint)
    return replace(own, path=str(folder), fingerprint=key)


def _with_own_rows(study: Study, progress: Progress, commits: dict[str, RecordedCommit]) -> BaseModel:
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
    return BaseModel(str(folder), key, found.commits | ({TOKENIZER: commit} if commit else {}))


def _own_model(study: Study, progress: Progress, recorded: RecordedCommit) -> BaseModel:
    base = study.base_model
    if base.pretrained is None or Path(base.pretrained).is_dir():
        folder = Path(base.pretrained) if base.pretrained else _embedded(study, progress)
        inspection.refuse_incomplete(folder)
        progress("computing checksums of the base model", None)
        return BaseModel(str(folder), fingerprint(folder))
    progress(f"looking for {base.pretrained} on the hub", None)
    commit = hub.commit(snapshot.repository(base), recorded)
    if commit is None:
        raise InputError(
            f"base_model.pretrained: {shown(base.pretrained)} is no directory, and no name on the hub: correct it"
        )
    folder = snapshot.find(base, commit) or snapshot.download(base, commit, progress)
    return BaseModel(str(folder), fingerprint_of([base.pretrained, commit]), {BASE_MODEL: commit})


def _embedded(study: Study, progress: Progress) -> Path:
    if study.base_model.embedded == "smollm2-135m":
        progress("fetching and converting SmolLM2-135M, once, about a minute", None)
        return smollm.build()
    return tiny.build_named(str(study.base_model.embedded), progress)


def text_tokenizer(study: Study, tokenizer: Any) -> TextTokenizer:
    if study.training.stage != "cpt":
        return TextTokenizer(ChatRenderer.of(tokenizer).tokenizer, Borders())  # the template writes all special tokens
    found = TextTokenizer(tokenizer, Borders.of(tokenizer, study.documents))
    if study.training.document_masking and not found.borders.ids:
        raise InputError(
            "training.document_masking finds documents by the tokens between them, and there are none: the base "
            "model's tokenizer begins no text with BOS: write documents: {eos: true} or {bos: true}"
        )
    return found
