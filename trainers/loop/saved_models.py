"""Saved models: `trials/<id>/model`, a Hugging Face directory, and beside it `kept.json` with its objective.

Where only the best are saved, each trial that finishes deletes the worse ones. It holds a lock meanwhile, so that the
disk holds at most one model more than are saved in the end.
"""

from __future__ import annotations

import fcntl
import inspect
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.checkpoint.state_dict_saver import save as save_in_parts

from sweep.study.files.atomic import sync, write_atomically
from sweep.study.files.layout import SAVED_MODELS_LOCK, TrialFiles
from sweep.study.files.reader import read_object
from sweep.study.numbers import json_text
from trainers.workers.group import WorkerGroup

log = logging.getLogger(__name__)
FILE_BYTES = 4 * 2**30  # of the weights in one file
LOCK_SECONDS = 1.0
WRITES_PARTS = "save_distributed" in inspect.signature(HuggingFaceStorageWriter).parameters  # torch >= 2.9


def save_if_best(
    model: Any, tokenizer: Any, folder: Path, objective: float | None, most: int | None, workers: WorkerGroup
) -> bool:
    """Save a trial's model in its `folder` if it is among the `most` best of the run (None: always); returns whether.

    A lower objective is better. All workers of the trial call it.
    """
    with _locked(folder.parent, workers):
        wanted = workers.broadcast(_rank(folder, objective) < most if most is not None and workers.first else True)
        if wanted:
            save(model, tokenizer, TrialFiles(folder).model, workers)
            if workers.first:
                write_atomically(TrialFiles(folder).saved_model_note, json_text({"objective": objective}))
        if workers.first and most is not None:
            prune(folder.parent, most)
    return bool(wanted)


def prune(trials: Path, most: int) -> None:
    """Delete all saved models of a run except the `most` best."""
    for files in [TrialFiles(path) for _, path in _saved(trials)[most:]]:
        shutil.rmtree(files.model, ignore_errors=True)
        files.saved_model_note.unlink(missing_ok=True)


def save(model: Any, tokenizer: Any, folder: Path, workers: WorkerGroup) -> None:
    """Write a model and its tokenizer as a Hugging Face directory, whole or not at all.

    Each worker writes its part of a sharded model, and the files are joined on disk: no worker holds all weights. With
    torch 2.8 the first worker collects them in host memory.
    """
    unfinished = folder.with_name(f".{folder.name}")
    if workers.first:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    workers.wait()
    if workers.sharded:
        _save_sharded(model, unfinished, workers)
    else:
        model.save_pretrained(unfinished)
    if workers.first:
        tokenizer.save_pretrained(unfinished)
        sync(unfinished)  # the record, which is, will say that it is there
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    workers.wait()


def _save_sharded(model: Any, folder: Path, workers: WorkerGroup) -> None:
    whole = None if WRITES_PARTS else StateDictOptions(full_state_dict=True, cpu_offload=True)  # on the first worker
    tied = set(model.all_tied_weights_keys)
    state: dict[str, Any] = get_model_state_dict(model, options=whole)
    weights = {name: value for name, value in state.items() if name not in tied}
    if WRITES_PARTS:
        writer = HuggingFaceStorageWriter(
            str(folder), _files(weights), save_distributed=True, enable_consolidation=True
        )
        save_in_parts(weights, storage_writer=writer)
    elif workers.first:
        save_in_parts(weights, storage_writer=HuggingFaceStorageWriter(str(folder), _files(weights)), no_dist=True)
    workers.wait()
    if workers.first:
        shutil.rmtree(folder / "sharded", ignore_errors=True)
        model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)


def _files(weights: dict[str, Any]) -> dict[str, int]:
    """The number (from 1) of the file that each weight is written to, in the order of the weights."""
    files, filled, at = {}, 0, 1
    for name, value in weights.items():
        size = value.numel() * value.element_size()
        if filled and filled + size > FILE_BYTES:
            filled, at = 0, at + 1
        files[name], filled = at, filled + size
    return files


def _rank(folder: Path, objective: float | None) -> int:
    """How many other saved models are at least as good."""
    return sum(other <= _or_infinite(objective) for other, path in _saved(folder.parent) if path != folder)


def _saved(trials: Path) -> list[tuple[float, Path]]:
    """The saved models' objectives and the folders of their trials, best first."""
    found = []
    for files in map(TrialFiles, trials.glob("*")):
        if files.saved_model_note.is_file():
            objective = _objective(files.saved_model_note)
            if files.model.is_dir():  # else another trial deletes it now
                found.append((objective, files.folder))
    return sorted(found)


def _objective(note: Path) -> float:
    """The objective beside a saved model; infinity where it is not known, so that such a model is deleted first."""
    content = read_object(note)
    if content is None:
        log.warning("%s is unreadable: its model counts as the worst of the saved ones", note)
    return _or_infinite((content or {}).get("objective"))


def _or_infinite(value: Any) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else math.inf


@contextmanager
def _locked(trials: Path, workers: WorkerGroup) -> Iterator[None]:
    """Hold the lock of a run's saved models, with heartbeats while waiting for it."""
    if not workers.first:
        yield
        return
    with (trials / SAVED_MODELS_LOCK).open("a") as lock:
        while not _acquired(lock):
            workers.heartbeat()
            time.sleep(LOCK_SECONDS)
        yield


def _acquired(lock: Any) -> bool:
    """Whether the lock is held now. Without locks in the file system it counts as held: two trials that finish at once
    may then both save a model, and the later one deletes the worse.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("saving the model without a lock: the file system of %s has none (%s)", lock.name, error)
    return True
