"""The file of a W&B run that was logged offline, read by W&B's own code: the extra `tracking` installs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.launch.watching.logs import names
from analysis.launch.watching.logs.events import LogEvent, RunLog, event
from sweep.study import InputError

SUFFIX = ".wandb"


def read(path: Path) -> RunLog:
    """Raises InputError where wandb is not installed, or the file is none of its."""
    log = RunLog()
    log.add(_events(path))
    return log


def _events(path: Path) -> Iterator[LogEvent]:
    for record in _records(path):
        if record.WhichOneof("record_type") != "history":
            continue
        logged = {".".join(one.nested_key) or one.key: _value(one.value_json) for one in record.history.item}
        at = logged.get("_timestamp")
        found = event(names.step_of(logged), names.values(logged), at=at if isinstance(at, float) else None)
        if found and found.values:
            yield found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _records(path: Path) -> Iterator[Any]:
    try:
        from wandb.proto import wandb_internal_pb2
        from wandb.sdk.internal.datastore import DataStore
    except ImportError:
        raise InputError(
            f"{path}: W&B is not installed, whose own code reads it: pip install 'almr-sweep[tracking]', or name "
            f"another log"
        ) from None
    store = DataStore()
    try:
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            yield record
    except OSError:
        raise
    except Exception:  # W&B asserts; a file that is being written ends in half a record
        return
