"""Data sets of the Hugging Face hub: the commit that a corpus is read at, and its rows."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from huggingface_hub import HfApi, snapshot_download
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


def commit(spec: Corpus, where: str, recorded: str | None = None) -> str | None:
    """The commit at which the corpus is read; None for a local folder, which has none.

    That is `revision` where it is a full commit hash, else the commit that the hub states for it now. If the hub states
    none: the commit that this run was prepared with (`recorded`), else that of the copy in huggingface_hub's cache.
    Raises InputError where there is neither.
    """
    assert spec.dataset
    if Path(spec.dataset).is_dir():
        return None
    if FULL_HASH.fullmatch(spec.revision or ""):
        return spec.revision
    try:
        if stated := HfApi().dataset_info(spec.dataset, revision=spec.revision, timeout=TIMEOUT_SECONDS).sha:
            return stated
        reason = "its answer names no commit"
    except HFValidationError:
        return None  # not a name of the hub: `datasets` loads it or says what is wrong
    except Exception as error:  # the errors of several network libraries come through
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    found = recorded or _cached_commit(spec)
    if found is None:
        raise InputError(
            f"{where}: {spec.dataset} cannot be reached on the hub and no copy is cached ({reason}); check its name, "
            f"the network and HF_TOKEN, or give the corpus as local `files:`"
        )
    log.warning("%s: %s cannot be reached on the hub (%s); using commit %s", where, spec.dataset, reason, found)
    return found


def _cached_commit(spec: Corpus) -> str | None:
    """The commit of the branch or tag when huggingface_hub last saw it."""
    where: dict[str, Any] = {"repo_type": "dataset", "revision": spec.revision, "local_files_only": True}
    name = spec.dataset or ""
    if not hasattr(huggingface_hub, "resolve_revision"):  # huggingface_hub < 1.31
        try:
            return Path(snapshot_download(name, **where)).name
        except LocalEntryNotFoundError:
            return None
    try:
        return huggingface_hub.resolve_revision(name, **where).resolved
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
