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
        yield from of_reading(files.metrics, _refuse_torn)
        for path in (files.log(), files.heartbeat):
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
    reader.parse(path, "note of a saved model", "delete it: the model then counts as the worst of the saved ones")


def _refuse_torn(path: Path) -> None:
    """Raises InputError where lines of a log are no JSON. A trial that was killed may leave half a line, its last."""
    lost, last, number = 0, 0, 0
    with regular.opened(path, LOG) as file:
        for number, line in enumerate(iter(lambda: file.readline(reader.LONGEST_LINE), b""), start=1):
            if not reader.is_json_object(line):
                lost, last = lost + 1, number
    whole = not os.path.lexists(path.parent / TrialFiles(path.parent).record.name)
    if lost and not (whole and lost == 1 and last == number):
        raise InputError(f"{path}: {lost:,} of its {number:,} lines are no objects of JSON; {LOG}")
