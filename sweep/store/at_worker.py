"""The run for the worker of a trial."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweep.store.remote import is_remote
from sweep.store.run import Run
from sweep.study import Trial
from sweep.study.files.layout import RECORD, TRIALS
from trainers.loop.out_of_memory import micro_batch_file

PUSH_SECONDS = 30.0  # between pushes of a running trial's files


@contextlib.contextmanager
def at_worker(address: str, trial: Trial) -> Iterator[Run]:
    """The run for the worker of a trial. On an object store: a mirror of its own, pushed regularly and at the end."""
    if not is_remote(address):
        yield Run(address)
        return
    with tempfile.TemporaryDirectory(prefix="almr-trial-") as scratch_folder:
        run = Run(address, Path(scratch_folder) / "run")
        mirror, own = run.mirror, f"{TRIALS}/{trial.id}/"
        assert mirror
        mirror.fetch(*map(run.files.name, (run.files.study, run.files.ingredients, run.files.provenance)))
        mirror.pull(own)
        run.trial_folder(trial).mkdir(parents=True, exist_ok=True)
        note = f"{TRIALS}/{micro_batch_file(run.study())}"
        mirror.fetch(note)

        def wanted(name: str) -> bool:
            return name == note or (name.startswith(own) and not name.endswith(f"/{RECORD}"))

        with mirror.pushing(PUSH_SECONDS, wanted):
            yield run
