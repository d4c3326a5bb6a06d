"""Whether a process is still there, which are below another, and where they listen."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from sweep.worker.watch import processes


def alive(path: Path) -> bool:
    """The process whose number a file has, until it ends; a file that is not there yet is of none."""
    try:
        return bool(running([int(path.read_text())]))
    except (FileNotFoundError, ValueError):
        return False


def below(pid: int) -> list[int]:
    """A process and all its descendants."""
    return [pid, *processes.descendants(pid)]


def running(numbers: list[int]) -> list[int]:
    """Those that have not ended."""
    return [pid for pid in numbers if _lives(pid)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def listening(numbers: list[int]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address of each TCP socket on which the processes listen."""
    sockets = {name for pid in numbers for name in _sockets(pid)}
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()[1:]]
    return [_address(fields[1].split(":")[0]) for fields in lines if fields[3] == "0A" and fields[9] in sockets]


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    names = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            names.add(os.readlink(entry).removeprefix("socket:[").rstrip("]"))
    except OSError:
        pass
    return names


def _address(hexadecimal: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """From /proc/net: words of 32 bits, each in the machine's order of bytes."""
    words = [bytes.fromhex(hexadecimal[i : i + 8])[::-1] for i in range(0, len(hexadecimal), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _lives(pid: int) -> bool:
    try:
        return processes.state(pid)[0] not in "ZX"
    except OSError:
        return False
