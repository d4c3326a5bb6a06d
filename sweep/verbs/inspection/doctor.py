"""`almr doctor`: everything that is wrong with the files of a run, at once. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.verbs.inspection import made_files, run_files
from sweep.verbs.inspection.remark import Remark
from sweep.verbs.inspection.trial_folders import TrialFolders

MOST_LINES = 200  # of a terminal; --json has all


@dataclass(frozen=True)
class Examination:
    """What was found in a run: a remark per fault, and the trials with and without a sound record."""

    run: Run
    remarks: list[Remark]
    records: int
    unfinished: list[str]

    @property
    def damaged(self) -> list[Remark]:
        return [remark for remark in self.remarks if remark.damaged]

    @property
    def text(self) -> str:
        notes = [remark for remark in self.remarks if not remark.damaged]
        lines = [self._line(remark) for remark in self.damaged] + [f"note: {self._line(remark)}" for remark in notes]
        more = len(lines) - MOST_LINES
        unfinished = f", {len(self.unfinished)} unfinished" if self.unfinished else ""
        state = f"{len(self.damaged)} damaged" if self.damaged else "no file is damaged"
        return "\n".join(
            [
                *lines[:MOST_LINES],
                *([f"and {more:,} more lines: see --json"] if more > 0 else []),
                f"{self.run.address}: {state}; {self.records} sound records{unfinished}",
            ]
        )

    def _line(self, remark: Remark) -> str:
        return f"{self.run.shown(remark.path)}: {remark.text}"

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run.address,
            "sound": not self.damaged,
            "damaged": [self._as_json(remark) for remark in self.remarks if remark.damaged],
            "notes": [self._as_json(remark) for remark in self.remarks if not remark.damaged],
            "records": self.records,
            "unfinished": self.unfinished,
        }

    def _as_json(self, remark: Remark) -> dict[str, str]:
        return {"file": self.run.files.name(remark.path), "message": remark.text}


def examine(run: Run) -> Examination:
    """Look at every file of a run that the product knows."""
    trials = TrialFolders()
    remarks = [*run_files.examine(run), *trials.examine(run)]
    remarks += made_files.examine(run, _study(run), trials.records)
    return Examination(run, remarks, len(trials.records), trials.unfinished)


def _study(run: Run) -> Study | None:
    try:
        return run.study()
    except (InputError, OSError):
        return None
