"""The files and folders that a corpus takes on disk, besides its packed blocks."""

from __future__ import annotations

import glob
from pathlib import Path

from sweep.study.files import cache
from trainers.data import documents
from trainers.data.documents import DocumentSource
from trainers.data.origins import hub


def text(source: DocumentSource) -> list[str]:
    """The embedded text, the documents as they were read, and of a data set of the hub the copy of `datasets`."""
    spec, copies, read = source.spec, cache.root() / "datasets", str(documents.texts_folder(source))
    if not spec.dataset:
        return [*([str(Path(file).parent) for file in source.files] if spec.embedded else []), read]
    local = Path(spec.dataset).is_dir()
    name = Path(spec.dataset).name if local else spec.dataset.replace("/", "___")
    of_commit = "" if local else f"/*/*/{source.commit}*"
    return [read, *sorted(glob.glob(f"{glob.escape(str(copies / name))}{of_commit}"))]


def downloads(source: DocumentSource) -> list[str]:
    """The files of a data set of the hub, as they were downloaded."""
    if not source.spec.dataset or Path(source.spec.dataset).is_dir():
        return []
    folder = hub.repository(source.spec, source.where).folder()
    return [str(folder)] if folder.is_dir() else []
