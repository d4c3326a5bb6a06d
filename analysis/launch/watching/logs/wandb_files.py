"""The file of a W&B run that was logged offline.

Its records are W&B's protocol buffers, which the extra `tracking` installs; that package has no reader of the file.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from analysis.launch.watching.logs import names
from analysis.launch.watching.logs.events import LogEvent, RunLog, event
from sweep.study import InputError
from sweep.study.files import regular

SUFFIX = ".wandb"
MAGIC = b":W&B\xe1\xbe\x00"
BLOCK, PART = 2**15, struct.Struct("<IHB")  # checksum, length and kind of a part
FULL, FIRST, LAST = 1, 2, 4


def read(path: Path) -> RunLog:
    """Raises InputError where wandb is not installed."""
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
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError:
        raise InputError(
            f"{path}: W&B is not installed, whose code is needed: pip install 'almr-sweep[tracking]', or name another"
        ) from None
    with regular.opened(path) as file:
        for data in _whole(file):
            try:
                record = Record.FromString(data)
            except Exception:  # protobuf's own error, whose place differs by version
                return
            yield record


def _whole(file: BufferedReader) -> Iterator[bytes]:
    """Records, of one part or of several. The file is a log of LevelDB's: parts with a checksum, in blocks."""
    if file.read(len(MAGIC)) != MAGIC:
        return
    parts: list[bytes] = []
    for kind, data in _parts(file):
        parts = [data] if kind in (FULL, FIRST) else [*parts, data]
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def _parts(file: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Up to the first that is cut off or damaged."""
    while True:
        if (left := BLOCK - file.tell() % BLOCK) < PART.size:
            file.read(left)
        head = file.read(PART.size)
        if len(head) < PART.size:
            return
        check, length, kind = PART.unpack(head)
        data = file.read(length)
        if len(data) < length or zlib.crc32(data, zlib.crc32(head[-1:])) != check:
            return
        yield kind, data
