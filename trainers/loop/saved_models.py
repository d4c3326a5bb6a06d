"""Finished models on disk: `trials/<id>/model`, a Hugging Face directory, and beside it `kept.json` with its objective.

Where only the best stay, the others are removed by whoever finishes: under a lock, so that at no time more models lie
there than stay and one that is being written.
"""

from __future__ import annotations

import fcntl
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.checkpoint.state_dict_saver import save as save_in_parts

from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from trainers.workers.group import WorkerGroup

FILE_BYTES = 4 * 2**30  # of the weights in one file
LOCK_SECONDS = 1.0


def keep(
    model: Any,
    tokenizer: Any,
    folder: Path,
    objective: float | None,
    most: int | None,
    gang: WorkerGroup,
    beat: Callable[[], None],
) -> bool:
    """Keep a trial's model in its `folder`, where it is among the `most` best of the run (None: always). Lower
    objectives are better. Returns whether it was kept. Every worker of a gang calls it.
    """
    with _locked(folder.parent, gang, beat):
        wanted = gang.told(_rank(folder, objective) < most if most is not None and gang.first else True)
        if wanted:
            save(model, tokenizer, TrialFiles(folder).model, gang)
            if gang.first:
                write_atomically(TrialFiles(folder).saved_model_note, json.dumps({"objective": objective}))
        if gang.first and most is not None:
            prune(folder.parent, most)
    return bool(wanted)


def prune(trials: Path, most: int) -> None:
    """Remove all kept models of a run but the `most` best."""
    for files in [TrialFiles(path) for _, path in _kept(trials)[most:]]:
        shutil.rmtree(files.model, ignore_errors=True)
        files.saved_model_note.unlink(missing_ok=True)


def save(model: Any, tokenizer: Any, folder: Path, gang: WorkerGroup) -> None:
    """Write a model and its tokenizer as a Hugging Face directory, whole or not at all.

    Of a sharded model every worker writes its part, and the files are joined on disk: none holds all weights.
    """
    unfinished = folder.with_name(f".{folder.name}")
    if gang.first:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    gang.wait()
    if gang.sharded:
        _save_sharded(model, unfinished, gang)
    else:
        model.save_pretrained(unfinished)
    if gang.first:
        tokenizer.save_pretrained(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    gang.wait()


def _save_sharded(model: Any, folder: Path, gang: WorkerGroup) -> None:
    tied = set(model.all_tied_weights_keys)
    weights = {name: value for name, value in get_model_state_dict(model).items() if name not in tied}
    writer = HuggingFaceStorageWriter(str(folder), _files(weights), save_distributed=True, enable_consolidation=True)
    save_in_parts(weights, storage_writer=writer)
    gang.wait()
    if gang.first:
        shutil.rmtree(folder / "sharded", ignore_errors=True)
        model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)


def _files(weights: dict[str, Any]) -> dict[str, int]:
    """Which file each weight goes into, from 1, in their order."""
    files, filled, at = {}, 0, 1
    for name, value in weights.items():
        size = value.numel() * value.element_size()
        if filled and filled + size > FILE_BYTES:
            filled, at = 0, at + 1
        files[name], filled = at, filled + size
    return files


def _rank(folder: Path, objective: float | None) -> int:
    """How many other kept models are at least as good."""
    return sum(other <= _or_infinite(objective) for other, path in _kept(folder.parent) if path != folder)


def _kept(trials: Path) -> list[tuple[float, Path]]:
    """The kept models' objectives and folders, best first."""
    found = [(_or_infinite(json.loads(path.read_text())["objective"]), path.parent) for path in _notes(trials)]
    return sorted(found)


def _notes(trials: Path) -> Iterator[Path]:
    return (
        files.saved_model_note
        for path in trials.glob("*")
        if (files := TrialFiles(path)).model.is_dir() and files.saved_model_note.is_file()
    )


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None or not math.isfinite(value) else value


@contextmanager
def _locked(trials: Path, gang: WorkerGroup, beat: Callable[[], None]) -> Iterator[None]:
    """One trial at a time; whoever waits shows that it lives."""
    if not gang.first:
        yield
        return
    with (trials / ".kept.lock").open("a") as lock:
        while not _taken(lock):
            beat()
            time.sleep(LOCK_SECONDS)
        yield


def _taken(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
