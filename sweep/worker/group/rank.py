"""One rank of a worker group, started by torchrun. Rank 0 writes the trial's record.

python -m sweep.worker.group.rank RUN_FOLDER TRIAL_JSON
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from pathlib import Path

from sweep.store.run import Run
from sweep.study.record import TrialRequest
from sweep.worker import run_trial as worker
from sweep.worker.group.supervisor import die_with_parent
from trainers.workers.heartbeat import Heartbeat


def main() -> None:
    die_with_parent()
    run, request = Run(Path(sys.argv[1])), TrialRequest.model_validate_json(Path(sys.argv[2]).read_bytes())
    Heartbeat(run.trial_folder(request.trial)).signal()  # importing torch may take long
    _log_to(run.log(request.trial, int(os.environ["RANK"])), request.attempt)
    from torch.distributed.elastic.multiprocessing.errors import record

    record(_carry_out)(run, request)  # passes an exception on to torchrun


def _carry_out(run: Run, request: TrialRequest) -> None:
    try:
        worker.carry_out(run, run.study(), request.trial, request.attempt)
    except BaseException:
        traceback.print_exc()
        raise


def _log_to(path: Path, attempt: int) -> None:
    """Send everything that this process prints to a file, native libraries included, and a stack trace on SIGTERM."""
    worker.begin_log(path, attempt)
    with path.open("a", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    worker.log_handler(sys.stderr)
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)


if __name__ == "__main__":
    main()
