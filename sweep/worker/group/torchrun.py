"""torchrun, which also writes the failures of its ranks to a JSON file.

    python -m sweep.worker.group.torchrun FAILURES_FILE [torchrun's own arguments]

After a failure the file holds a JSON list of `{"rank", "exit_status", "message", "timestamp"}`, one entry for each rank
that failed by itself. `message` is the exception, or None where the rank reported none.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import get_args_parser, parse_args, run

from sweep.worker.group.node import PORT_TAKEN


def main() -> None:
    failures_file, *arguments = sys.argv[1:]
    try:
        run(parse_args(_known(arguments)))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        Path(failures_file).write_text(json.dumps(_own_failures(error.failures)))
        raise
    except Exception as error:
        if "EADDRINUSE" in str(error) or "address already in use" in str(error):
            sys.exit(PORT_TAKEN)
        raise


def _known(arguments: list[str]) -> list[str]:
    """Without `--shutdown-timeout` where torchrun has none (before torch 2.13): it then waits 30 s for its ranks."""
    known = "--shutdown-timeout" in get_args_parser().format_help()
    return [argument for argument in arguments if known or not argument.startswith("--shutdown-timeout=")]


def _own_failures(failures: dict[int, ProcessFailure]) -> list[dict[str, Any]]:
    """The failures, in torchrun's order. Ranks that torchrun stopped by SIGTERM count only where all are."""
    by_itself = {rank: f for rank, f in failures.items() if f.exitcode != -signal.SIGTERM}
    return [_as_json(rank, failure) for rank, failure in (by_itself or failures).items()]


def _as_json(rank: int, failure: ProcessFailure) -> dict[str, Any]:
    message = failure.error_file_data.get("message")
    return {
        "rank": rank,
        "exit_status": failure.exitcode,
        "message": message["message"] if isinstance(message, dict) else None,
        "timestamp": failure.timestamp,
    }


if __name__ == "__main__":
    main()
