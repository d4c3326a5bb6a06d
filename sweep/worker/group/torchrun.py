"""torchrun, with what became of its workers as a file that a program can read.

    python -m sweep.worker.group.torchrun FAILURES_FILE [torchrun's own arguments]

On a failure the file gets a JSON list of `{"rank", "exit_status", "message", "timestamp"}`, one for each worker that
failed by itself; `message` is the exception, None where the worker could not tell.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

from sweep.worker.group.torchrun_arguments import PORT_TAKEN


def main() -> None:
    failures_file, *arguments = sys.argv[1:]
    try:
        run(parse_args(arguments))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        Path(failures_file).write_text(json.dumps(_told(error.failures)))
        raise
    except Exception as error:
        if "EADDRINUSE" in str(error) or "address already in use" in str(error):
            sys.exit(PORT_TAKEN)
        raise


def _told(failures: dict[int, ProcessFailure]) -> list[dict[str, Any]]:
    """In the order in which they were noticed. torchrun sends SIGTERM to the others, and counts these too."""
    by_itself = {rank: f for rank, f in failures.items() if f.exitcode != -signal.SIGTERM}
    return [_one(rank, failure) for rank, failure in (by_itself or failures).items()]


def _one(rank: int, failure: ProcessFailure) -> dict[str, Any]:
    told = isinstance(failure.error_file_data.get("message"), dict)
    return {
        "rank": rank,
        "exit_status": failure.exitcode,
        "message": failure.error_file_data["message"]["message"] if told else None,
        "timestamp": failure.timestamp,
    }


if __name__ == "__main__":
    main()
