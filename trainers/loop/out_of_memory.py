"""Out of memory: the micro-batch is halved, in this trial and in the later trials of its run. So it is in evaluations.

A single worker repeats the step, unless FSDP2 shards its model: after an interrupted backward pass FSDP2 no longer
reduces gradients correctly. Of several workers the others wait in a collective, which only the end of the process group
ends. In both cases the trial starts again, from its checkpoint if it has one, and all workers read the smaller
micro-batch from a file beside the trials.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweep.study import Study
from sweep.study.files.atomic import write_atomically
from sweep.study.study import fingerprint_of


class MicroBatchHalvedError(RuntimeError):
    """A sharded model ran out of memory; its trial has to be started again with a smaller micro-batch."""

    def __init__(self, micro_batch: int) -> None:
        super().__init__(f"out of memory: the trial has to start again with micro_batch_sequences {micro_batch}")
        self.micro_batch = micro_batch


@dataclass
class MicroBatch:
    """How many sequences a worker takes at once (None: all of its own of a global batch), in training and evaluation.

    `ran_out`: memory has run out in this trial. `store` is told the smaller one of a trial that goes on with it.
    """

    sequences: int | None = None
    ran_out: bool = False
    store: Callable[[int], None] = field(default=lambda sequences: None, repr=False, compare=False)

    def of(self, own: int) -> int:
        """At once of its `own` sequences."""
        return min(self.sequences or own, own)

    def halve(self, at_once: int, own: int, sharded: bool) -> None:
        """Memory ran out with `at_once` sequences. Raises MicroBatchHalvedError where a sharded model cannot go on, and
        RuntimeError with one sequence.
        """
        self.sequences, self.ran_out = min(halved(at_once, at_once), self.of(own)), True
        if sharded:
            raise MicroBatchHalvedError(self.sequences)
        self.store(self.sequences)


def halved(micro_batch: int, sequences: int) -> int:
    """The next smaller micro-batch of a worker with so many sequences per step. Raises RuntimeError below one."""
    now = min(micro_batch, sequences)
    if now == 1:
        raise RuntimeError(
            "out of memory with one sequence at once: take more GPUs per trial, activation_checkpointing: full, "
            "optimizer.state: bfloat16 or int8, or a shorter sequence_length"
        )
    return now // 2


def free_memory() -> None:
    """Free what is no longer referenced, reference cycles (sharded modules) included."""
    import torch  # here, since reading a run imports this module

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def stored_micro_batch(study: Study, folder: Path) -> int | None:
    """The micro-batch that an earlier trial of this run was halved to, else the study's own (None: all sequences)."""
    own = study.training.micro_batch_sequences
    try:
        found = int((folder.parent / micro_batch_file(study)).read_text())
    except (FileNotFoundError, ValueError):
        return own
    return min(found, own or found)


def store_micro_batch(study: Study, folder: Path, micro_batch: int) -> None:
    """Store a micro-batch for the run's next trials. It never rises: another trial may have halved it further."""
    least, path = stored_micro_batch(study, folder), folder.parent / micro_batch_file(study)
    write_atomically(path, str(min(micro_batch, least or micro_batch)))


def micro_batch_file(study: Study) -> str:
    """The file's name. It depends on whatever memory depends on, so that a run with more memory starts afresh."""
    execution = study.execution.model_dump(exclude={"checkpoint_minutes"})
    key = [execution, study.resources.workers, study.training.micro_batch_sequences]
    return f"micro_batch-{fingerprint_of(key)}"
