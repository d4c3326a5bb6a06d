"""Preparation ahead of a run, as `almr prepare` does it: what it took, recorded."""

from __future__ import annotations

import tempfile

from sweep.study import Study, preparation
from sweep.study.files import cache, disk
from sweep.study.preparation import BenchmarkData, Preparation
from trainers import tiny
from trainers.benchmarks import fetching
from trainers.data import corpus, disk_paths
from trainers.prepare.base_model import BASE_MODEL, Progress
from trainers.prepare.ingredients import StudyInputs, commits_of, make


def fetch(study: Study, progress: Progress = lambda phase, share: None) -> Preparation:
    """Download, tokenise and pack all that a run of the study needs, at the hub's commits of now, and record it.

    What is in the cache stays as it is. Where the hub cannot be reached, the recorded commits are used. Raises as
    `prepare`, and OSError where the cache cannot be written.
    """
    recorded = preparation.read(study)
    commits = commits_of(study, recorded.ingredients if recorded else None, ask=True)
    before = preparation.own_stamps(study)  # before they are read: a later change is then noticed
    with disk.naming(cache.root()):
        _refuse_unwritable()
        cache.remove_abandoned()
        made = make(study, progress, commits, lambda part: preparation.note_finished(study, part, before))
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


def _paths(study: Study, made: StudyInputs) -> dict[str, tuple[str, ...]]:
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
