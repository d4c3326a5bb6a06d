"""Puts the log of a trial on the object store of its run: its worker, which would do so, is about to be killed.

    python -m sweep.worker.push_log ADDRESS FOLDER TRIAL_ID

FOLDER: where the worker mirrors the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sweep.store.run import Run


def main() -> None:
    address, folder, trial_id = sys.argv[1:]
    run = Run(address, Path(folder))
    assert run.mirror, "a run in a folder has nothing to put"
    run.mirror.put(run.files.name(run.files.trial(trial_id).log()))


if __name__ == "__main__":
    main()
