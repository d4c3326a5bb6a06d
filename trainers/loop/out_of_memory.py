"""Out of memory: half as many sequences at once, in this trial and in the run's later ones.

A worker alone tries the same step again, unless FSDP2 holds its model: after a backward pass that was broken off, FSDP2
no longer reduces gradients as it should. In a gang the others wait in the middle of a collective, which only the end of
the process group ends. So in both the trial starts again, from its checkpoint where it has one, and all workers read
the smaller micro-batch from a note that lies beside the trials.
"""

from __future__ import annotations

import gc
from pathlib import Path

from sweep.study.files.atomic import write_atomically
from sweep.study.study import Study, fingerprint_of


class Halved(RuntimeError):  # noqa: N818  # it asks for something
    """A sharded model ran out of memory; its trial has to be started again, and will take a smaller micro-batch."""

    def __init__(self, micro: int) -> None:
        super().__init__(f"out of memory: the trial is to start again with micro_batch_sequences {micro}")
        self.micro = micro


def halve(micro: int, sequences: int) -> int:
    """The next smaller micro-batch, of a worker that has so many sequences. Raises RuntimeError below one."""
    now = min(micro, sequences)
    if now == 1:
        raise RuntimeError(
            "out of memory with one sequence at once: take more GPUs a trial, activation_checkpointing: full, "
            "optimizer.state: bfloat16 or int8, or a shorter sequence_length"
        )
    return now // 2


def forget() -> None:
    """Free what was given up: sharded modules hold each other in circles."""
    import torch  # whoever only reads a run has no need of it

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def noted(study: Study, folder: Path) -> int | None:
    """The micro-batch that an earlier trial of this run came down to, the study's own where there was none."""
    own = study.training.micro_batch_sequences
    try:
        found = int((folder.parent / note_name(study)).read_text())
    except (FileNotFoundError, ValueError):
        return own
    return min(found, own or found)


def note(study: Study, folder: Path, micro: int) -> None:
    """Keep a micro-batch for whoever trains in this run next, in `folder`'s parent; workers may do so at once. It never
    rises: another trial may have come down further.
    """
    least, path = noted(study, folder), folder.parent / note_name(study)
    write_atomically(path, str(min(micro, least or micro)))


def note_name(study: Study) -> str:
    """It stands for what memory depends on: a study that is run with more of it starts anew."""
    execution = study.execution.model_dump(exclude={"checkpoint_minutes"})
    key = [execution, study.resources.workers, study.training.micro_batch_sequences]
    return f"micro_batch-{fingerprint_of(key)}"
