"""Data sets and models of the Hugging Face hub: the commit that they are read at, and the rows of a data set."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import huggingface_hub
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from sweep.study import InputError
from sweep.study.files import cache
from sweep.study.sections.corpora import Corpus

log = logging.getLogger(__name__)
FULL_HASH = re.compile(r"[0-9a-f]{40}")
TIMEOUT_SECONDS = 20


def arguments(spec: Corpus) -> dict[str, Any]:
    """What `datasets` is called with, as the study states it."""
    return {"path": spec.dataset, "name": spec.config, "split": spec.split, "revision": spec.revision}


@dataclass(frozen=True)
class Repository:
    """A data set or model of the hub as a study names it. In errors, `field` is the study's field, and `instead` says
    what a user without the hub can write.
    """

    kind: Literal["dataset", "model"]
    name: str
    revision: str | None
    field: str
    instead: str

    def folder(self) -> Path:
        """Where huggingface_hub keeps its files on this machine."""
        return Path(constants.HF_HUB_CACHE) / f"{self.kind}s--{self.name.replace('/', '--')}"


@dataclass(frozen=True)
class RecordedCommit:
    """The commit that was recorded when a study was prepared; None: none was. With `ask`, the hub is asked first."""

    commit: str | None = None
    ask: bool = True


UNRECORDED = RecordedCommit()


def repository(spec: Corpus, where: str) -> Repository:
    assert spec.dataset
    return Repository("dataset", spec.dataset, spec.revision, where, "give the corpus as local `files:`")


def commit(repository: Repository, recorded: RecordedCommit = UNRECORDED) -> str | None:
    """The commit at which a corpus or model is read; None for a local folder, which has none.

    That is `revision` where it is a full commit hash, else the commit that the hub states for it now. If the hub states
    none: the recorded one, else that of the copy in huggingface_hub's cache. Raises InputError where there is neither.
    """
    if Path(repository.name).is_dir():
        return None
    if FULL_HASH.fullmatch(repository.revision or ""):
        return repository.revision
    if recorded.commit and not recorded.ask:
        return recorded.commit
    try:
        look_up = getattr(HfApi(), f"{repository.kind}_info")
        stated: str | None = look_up(repository.name, revision=repository.revision, timeout=TIMEOUT_SECONDS).sha
        if stated:
            return stated
        reason = "its answer names no commit"
    except HFValidationError:
        return None  # not a name of the hub: the library that loads it says what is wrong
    except Exception as error:  # the errors of several network libraries come through
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    where, name = repository.field, repository.name
    found = recorded.commit or _cached_commit(repository)
    if found is None:
        raise InputError(
            f"{where}: {name} cannot be reached on the hub and no copy is cached ({reason}); check its name, "
            f"the network and HF_TOKEN, or {repository.instead}"
        )
    log.warning("%s: %s cannot be reached on the hub (%s); using commit %s", where, name, reason, found)
    return found


def _cached_commit(repository: Repository) -> str | None:
    """The commit of the branch or tag when huggingface_hub last saw it."""
    where: dict[str, Any] = {"repo_type": repository.kind, "revision": repository.revision, "local_files_only": True}
    if not hasattr(huggingface_hub, "resolve_revision"):  # huggingface_hub < 1.31
        try:
            return Path(snapshot_download(repository.name, **where)).name
        except LocalEntryNotFoundError:
            return None
    try:
        return huggingface_hub.resolve_revision(repository.name, **where).resolved
    except huggingface_hub.errors.RevisionResolutionError:
        return None


def load(spec: Corpus, commit: str | None) -> datasets.Dataset:
    """The rows of a data set at a commit; with `spec.documents` only so many, read as a stream.

    Raises whatever `datasets` raises, and ConnectionError where it offers its cached copy of another commit.
    """
    stated = arguments(spec) | ({"revision": commit} if commit else {})
    split = stated.pop("split")
    builder = datasets.load_dataset_builder(**stated, cache_dir=str(cache.root() / "datasets"))
    if commit and builder.hash != commit:
        raise ConnectionError(f"the hub cannot be reached, and the cached copy is not of commit {commit}")
    if spec.documents is None:
        builder.download_and_prepare()
        return builder.as_dataset(split=split)
    stream = builder.as_streaming_dataset(split=split)
    if spec.field in (stream.column_names or [spec.field]):
        stream = stream.select_columns([spec.field])
    return datasets.Dataset.from_list(list(stream.take(spec.documents)))
