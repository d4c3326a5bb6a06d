"""What the doctor finds in the folders of trials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sweep.store.run import Run
from sweep.study import InputError, Record
from sweep.study.files import reader, regular
from sweep.study.files.layout import SAVED_MODELS_LOCK, TrialFiles
from sweep.study.files.trial_files import read_request, read_trial
from sweep.verbs.inspection.remark import Remark, of_reading

LOG = "only the figure of training losses reads it: delete it, or leave it"


class TrialFolders:
    """The records of all trials, by the name of their folders, and the names of those without a sound one."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.unfinished: list[str] = []

    def examine(self, run: Run) -> Iterator[Remark]:
        """Read every trial's files."""
        trials = run.files.trials
        if os.path.lexists(trials) and not trials.is_dir():
            yield Remark(trials, "is not a folder: restore it")
            return
        for path in sorted(trials.glob("*")):
            if path.is_dir():
                yield from self._examine(TrialFiles(path))
            elif path.name != SAVED_MODELS_LOCK:
                yield Remark(path, "is not a trial's folder: move it out of trials/")

    def _examine(self, files: TrialFiles) -> Iterator[Remark]:
        name = files.folder.name
        yield from of_reading(files.record, self._read)
        yield from of_reading(files.request, read_request)
        yield from _log(files)
        for path in (files.log(), files.heartbeat, files.metrics):
            yield from of_reading(path, lambda path: regular.opened(path, "delete it").close())
        yield from of_reading(files.saved_model_note, _note)
        if not os.path.lexists(files.record):
            self.unfinished.append(name)
        elif not os.path.lexists(files.request):
            yield Remark(files.request, "is missing: the next almr run writes it from the record", False)
        if not any(map(os.path.lexists, (files.record, files.request))):
            yield Remark(files.folder, "is a trial's folder without a request and a record: delete it", False)

    def _read(self, path: Path) -> None:
        self.records[path.parent.name] = read_trial(path)


def _note(path: Path) -> None:
    remedy = "delete it: the model then counts as the worst of the saved ones"
    content = reader.parse(path, "note of a saved model", remedy)
    stated = content.get("objective", "") if isinstance(content, dict) else ""
    if not isinstance(stated, int | float | None):
        raise InputError(f"{path}: states no objective; {remedy}")


def _log(files: TrialFiles) -> Iterator[Remark]:
    """Lines of a log that are no JSON. A killed attempt may leave half a line, after which the next one goes on."""
    lost = number = 0
    try:
        with regular.opened(files.metrics, LOG) as file:
            for line in iter(lambda: file.readline(reader.LONGEST_LINE), b""):
                lost, number = lost + (not reader.is_json_object(line)), number + 1
    except (InputError, OSError):  # which has a remark of its own
        return
    if lost or (not number and os.path.lexists(files.record)):
        said = f"{lost:,} of its {number:,} lines are no objects of JSON" if lost else "is empty"
        yield Remark(files.metrics, f"{said}; {LOG}", lost == number)
