"""TensorBoard's event files of a trial: scalars by step, and the trial's line in the tab HPARAMS.

TensorBoard takes each folder with event files as a run, so the line of HPARAMS is written beside the scalars:
`SummaryWriter.add_hparams` would make a folder, and so a second run, of its own. Of the first line that it finds
in a folder TensorBoard takes the values for good: it is written once the outcome is known, to a file that the next
attempt at the trial deletes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sweep.study import LANGUAGES, Study, Trial
from trainers.tracking.outcome import OBJECTIVE, Outcome

OUTCOME = ".outcome"  # ends the name of the file with the line of HPARAMS
FLUSH_SECONDS = 30


class EventFiles:
    """What an earlier attempt wrote from `first_step` on is hidden. None: only the outcome is to come."""

    def __init__(self, study: Study, trial: Trial, folder: Path, first_step: int | None) -> None:
        from tensorboardX import SummaryWriter

        self.study, self.trial, self.folder, self.began = study, trial, folder, time.time()
        _remove_outcome(folder)
        curves = first_step is not None
        self.writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=FLUSH_SECONDS, write_to_disk=curves)

    def put(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self, outcome: Outcome) -> None:
        self.writer.close()
        write_outcome(self.study, self.trial, self.folder, outcome, self.began)


def write_outcome(study: Study, trial: Trial, folder: Path, outcome: Outcome, began: float | None = None) -> None:
    """Write the line of HPARAMS: ALMR, LR, seed and status, with the objective and the losses as metrics. `began`: when
    the trial did, in seconds since 1970.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    _remove_outcome(folder)
    chosen = trial.model_dump() | {"status": outcome.status}
    # All trials name the same metrics: TensorBoard takes the list of one of them.
    metrics = dict.fromkeys((OBJECTIVE, *(f"loss/{n}" for n in (*LANGUAGES, *study.corpora.source_names()))), 0.0)
    columns, start, end = hparams(chosen, metrics)
    _set(start, "session_start_info", {"group_name": trial.id, "start_time_secs": began or time.time()})
    status = 1 if outcome.ended_well else 2  # STATUS_SUCCESS, STATUS_FAILURE
    _set(end, "session_end_info", {"status": status, "end_time_secs": time.time()})
    with SummaryWriter(str(folder), filename_suffix=OUTCOME) as writer:
        for summary in (columns, start, end):
            writer.file_writer.add_summary(summary)
        for name, value in outcome.measured.items():
            writer.add_scalar(name, value, outcome.step)


def _set(summary: Any, part: str, fields: dict[str, Any]) -> None:
    """Set fields of a part of a summary of HPARAMS, which the library leaves empty, or takes as a success."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    held = summary.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(held.content)
    for name, value in fields.items():
        setattr(getattr(content, part), name, value)
    held.content = content.SerializeToString()


def _remove_outcome(folder: Path) -> None:
    for path in folder.glob(f"*{OUTCOME}"):
        path.unlink(missing_ok=True)
