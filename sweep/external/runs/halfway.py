"""Whether a trainer has finished a checkpoint that it can resume from, by the file that it writes last."""

from __future__ import annotations

import re
from pathlib import Path

from sweep.study.files import unfinished
from sweep.study.files.reader import is_json_object

STATE = "trainer_state.json"  # of transformers' Trainer
MARKERS = {  # below ALMR_CHECKPOINTS; `step` is that of the checkpoint half-way
    "native": "*/trials/*/checkpoint/step-*/state.json",  # by the clock: at whatever step it comes to
    "llamafactory": "*/checkpoint-{step}/trainer_state.json",
    "axolotl": "*/checkpoint-{step}/trainer_state.json",
    "trl": "*/checkpoint-{step}/trainer_state.json",
    "torchtitan": "**/step-{step}/.metadata",
    "megatron": "**/iter_{step:07d}",
}
STEP = re.compile(r"(?:checkpoint-|step-|iter_)(\d+)/")
TRACKER = "latest_checkpointed_iteration.txt"  # of Megatron, written last, beside the folders of its checkpoints


def checkpoint(name: str, checkpoints: Path, step: int) -> Path | None:
    """A file or folder of the checkpoint, None while it is not complete."""
    found = next(iter(sorted(checkpoints.glob(MARKERS[name].format(step=step)))), None)
    if name != "megatron" or found is None:
        return found
    tracker = found.parent / TRACKER
    return found if tracker.is_file() and tracker.read_text().strip() == str(step) else None


def newest(name: str, checkpoints: Path) -> int | None:
    """The step of the newest checkpoint that a trainer can resume from; None where there is none."""
    pattern = MARKERS[name].replace("{step:07d}", "*").replace("{step}", "*")
    names = (STEP.search(f"{path.relative_to(checkpoints)}/") for path in checkpoints.glob(pattern))
    steps = [int(found[1]) for found in names if found]
    return max((step for step in steps if checkpoint(name, checkpoints, step)), default=None)


def remove_torn(name: str, checkpoints: Path) -> None:
    """Remove the checkpoints that transformers' Trainer had not finished when it was killed: it resumes from the one of
    the highest number, and would fail at each start. Other trainers pass over theirs.
    """
    folder, _, marker = MARKERS[name].rpartition("/")
    if marker == STATE:
        for found in checkpoints.glob(folder.format(step="*")):
            if found.is_dir() and not _is_whole(found / STATE):
                unfinished.remove(found)


def _is_whole(state: Path) -> bool:
    """Of any size, and with NaN or infinity in it, as of a gradient's norm: both are usual in files of a Trainer."""
    try:
        return is_json_object(state.read_bytes())
    except OSError:
        return False


def written(path: Path) -> int | None:
    """The time it was written, in nanoseconds; None where it is gone."""
    return path.stat().st_mtime_ns if path.exists() else None
