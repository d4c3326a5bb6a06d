"""The files and folders that a corpus takes on disk, besides its packed blocks."""

from __future__ import annotations

import glob
from pathlib import Path

from sweep.study.files import cache
from trainers.data import hub
from trainers.data.documents import DocumentSource


def text(source: DocumentSource) -> list[str]:
    """The embedded text, and the copy of the documents that `datasets` reads."""
    spec, copies = source.spec, cache.root() / "datasets"
    if not spec.dataset:
        embedded = [str(Path(file).parent) for file in source.files] if spec.embedded else []
        return [*embedded, str(copies / source.fingerprint)]
    local = Path(spec.dataset).is_dir()
    name = Path(spec.dataset).name if local else spec.dataset.replace("/", "___")
    of_commit = "" if local else f"/*/*/{source.commit}*"
    return sorted(glob.glob(f"{glob.escape(str(copies / name))}{of_commit}"))


def downloads(source: DocumentSource) -> list[str]:
    """The files of a data set of the hub, as they were downloaded."""
    if not source.spec.dataset or Path(source.spec.dataset).is_dir():
        return []
    folder = hub.repository(source.spec, source.where).folder()
    return [str(folder)] if folder.is_dir() else []
