"""The log files of a run: those that were named, or those below the folder in which its trainer writes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from analysis.launch.watching.logs import event_files, text, trainer_state, wandb_files
from analysis.launch.watching.logs.events import RunLog
from sweep.study import InputError

MOST_FILES, DEPTH = 2000, 6
LINES = ("metrics.jsonl", "trainer_log.jsonl")
WRITTEN_BY_US = ".outcome"  # TensorBoard's line of HPARAMS, which repeats the last values
Reader = Callable[[Path], RunLog]


def read(paths: Iterable[Path]) -> RunLog:
    """What all files say together. Raises InputError where a named path is not there, for the logs of several trials,
    and for a file that is none of a log.
    """
    kinds: dict[str, list[Path]] = {}
    for path in {os.path.realpath(path): path for path in _files(list(paths))}.values():  # none twice
        kinds.setdefault(_kind(path), []).append(path)
    _refuse_several(kinds.get("text", []))
    whole = RunLog()
    for kind, files in kinds.items():
        began = event_files.began if kind == "tensorboard" else _written
        ordered = sorted(files, key=lambda path: (began(path), path))
        whole.beside(_newest_state(ordered) if kind == "state" else _joined(ordered, READERS[kind]))
    return whole


def _refuse_several(files: list[Path]) -> None:
    trials = {path.parent for path in files if path.name == LINES[0]}
    if len(trials) > 1:
        raise InputError(
            f"--log: it holds the logs of {len(trials)} trials, such as {min(trials)}: name the log of the launch alone"
        )


def _joined(ordered: list[Path], reader: Reader) -> RunLog:
    """Files of one kind follow each other: a run that was started again writes a new one, or goes on in the old one."""
    joined = RunLog()
    for path in ordered:
        try:
            one = reader(path)
        except FileNotFoundError:  # it was deleted meanwhile
            continue
        one.written, one.files = _written(path), [path]
        joined.follow(one)
    return joined


def _newest_state(ordered: list[Path]) -> RunLog:
    """Each has the whole history up to its checkpoint. The newest may be half written, or be deleted meanwhile."""
    errors: list[Exception] = []
    for path in reversed(ordered):
        try:
            one = trainer_state.read(path)
        except (FileNotFoundError, InputError) as error:
            errors.append(error)
            continue
        one.written, one.files = _written(path), [path]
        before = [_written(other) for other in ordered if _written(other) < one.written]
        one.between = one.written - max(before) if before else math.inf
        return one
    raise errors[0]


def _kind(path: Path) -> str:
    if event_files.MARK in path.name:
        return "tensorboard"
    if path.name.endswith(wandb_files.SUFFIX):
        return "wandb"
    return "state" if path.name.endswith(".json") else "text"


READERS: dict[str, Reader] = {
    "tensorboard": event_files.read,
    "wandb": wandb_files.read,
    "text": text.read,
}


def _files(named: list[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            yield from _below(path)
        elif os.path.lexists(path):
            yield path
        else:
            raise InputError(f"--log {path}: no such file or folder: name the log that the trainer writes")


def _below(folder: Path) -> Iterator[Path]:
    """Logs in a folder, by their names. Does not follow links to folders."""
    found = 0
    for place, folders, names in os.walk(folder):
        if len(Path(place).relative_to(folder).parts) >= DEPTH:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            if _is_log(name) and (found := found + 1) <= MOST_FILES:
                yield Path(place) / name


def _is_log(name: str) -> bool:
    if event_files.MARK in name:
        return not name.endswith(WRITTEN_BY_US)
    return name in (*LINES, trainer_state.NAME) or name.endswith(wandb_files.SUFFIX)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
