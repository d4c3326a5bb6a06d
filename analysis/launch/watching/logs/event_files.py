"""TensorBoard's event files: records of a length, a checksum and a protocol buffer each.

TensorBoard itself, which reads them too, is no dependency; tensorboardX, which writes ours, has the protocol buffers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from analysis.launch.watching.logs import names
from analysis.launch.watching.logs.events import LogEvent, RunLog, event, known
from sweep.study.files import regular

MARK = "tfevents"  # in the name of every such file
LARGEST = 64 * 2**20  # bytes of a record: scalars have a hundred
HEAD, CHECK = struct.Struct("<QI"), struct.Struct("<I")


def read(path: Path) -> RunLog:
    """Every scalar that a watch knows, in the order of the file. A record that was cut off or damaged ends the file, as
    in TensorBoard.
    """
    log = RunLog()
    log.add(_events(path))
    return log


def began(path: Path) -> float:
    """When the file was begun, in seconds since 1970, by its first record; infinite where it has none yet. A copy of a
    file has the time of the copying on its disk.
    """
    from tensorboardX.proto.event_pb2 import Event

    try:
        with regular.opened(path) as file:
            first = next(_records(file), None)
        return math.inf if first is None else float(Event.FromString(first).wall_time)
    except Exception:  # it was deleted meanwhile, or is damaged: protobuf's own error, whose place differs by version
        return math.inf


def _events(path: Path) -> Iterator[LogEvent]:
    from tensorboardX.proto.event_pb2 import Event

    with regular.opened(path) as file:
        for record in _records(file):
            try:
                found = Event.FromString(record)
            except Exception:  # protobuf's own error, whose place differs by version
                return
            yield from known(
                event(found.step, {own: value}, at=found.wall_time or None)
                for one in found.summary.value
                if (own := names.ours(one.tag)) and (value := _scalar(one)) is not None
            )


def _records(file: BufferedReader) -> Iterator[bytes]:
    from tensorboardX.crc32c import crc32c

    def masked(data: bytes) -> int:
        found: int = crc32c(data)
        return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF

    while len(head := file.read(HEAD.size)) == HEAD.size:
        length, check = HEAD.unpack(head)
        if length > LARGEST or masked(head[:8]) != check:
            return
        record, end = file.read(length), file.read(CHECK.size)
        if len(record) < length or len(end) < CHECK.size or masked(record) != CHECK.unpack(end)[0]:
            return
        yield record


def _scalar(one: Any) -> float | None:
    """As written by TensorBoard 1, or as a tensor of one float by TensorBoard 2."""
    if one.WhichOneof("value") == "simple_value":
        return float(one.simple_value)
    if one.WhichOneof("value") != "tensor":
        return None
    if one.tensor.float_val:
        return float(one.tensor.float_val[0])
    content = one.tensor.tensor_content
    return float(struct.unpack("<f", content)[0]) if one.tensor.dtype == 1 and len(content) == 4 else None
