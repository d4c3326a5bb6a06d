"""An error of the system as one line: the file, what is wrong with it, and what the user has to do."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from pathlib import Path

from sweep.study.errors import network_fault, one_line, resource_limit, small_address_space
from sweep.study.files import cache, disk

LONGEST_PATH = 200  # letters that a message shows
AGAIN = "run the same command again"
NETWORK = f"check the network, then {AGAIN}"
NO_TEMPORARY = "No usable temporary directory"  # in Python's error, which names no file
HINTS = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "name a folder that can be written",
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space of your quota, then run the same command again",
    errno.EIO: "its disk or file system fails (see dmesg): mend it, then run the same command again",
    errno.ESTALE: "the network file system lost it: look whether it is mounted, then run the same command again",
    errno.EXDEV: "name a folder that is on the same file system as the folder above it",
    errno.EBUSY: "if it is a mount point, name a folder inside it",
    errno.ETIME: "run the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), then run the same command again",
}
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def line(error: OSError) -> str:
    """Names the file if there is one. Libraries for the network derive their errors from OSError too."""
    if fault := network_fault(error):
        return f"{fault} ({one_line(error)}); {NETWORK}"
    if NO_TEMPORARY in str(error):
        return f"{one_line(error)}; set TMPDIR to a folder that can be written, with free space"
    place = error.filename if error.filename2 is None else error.filename2  # of a copy or a move, what is written
    if place is None:
        what, hint = error.strerror or one_line(error), "run again with --debug for the traceback"
        return f"{what}; {HINTS.get(error.errno or 0, hint)}"
    path = os.fsdecode(place)
    shown = path if len(path) <= LONGEST_PATH else f"...{path[-LONGEST_PATH:]}"
    room = f" ({disk.room(path)})" if error.errno in disk.FULL and disk.room(path) else ""
    return f"{shown}: {error.strerror or one_line(error)}{room}; {_hint(error.errno or 0, path)}"


def no_memory() -> str:
    """What to say of a MemoryError. A limit of the shell is named, as more memory would not help."""
    limit = resource_limit(resource.RLIMIT_AS)
    if limit is not None:
        return small_address_space(limit, "which is too little")
    return f"the memory is full: end other programs, or use a machine with more memory, then {AGAIN}"


def _hint(number: int, path: str) -> str:
    """What to do; of a folder that a variable sets, the variable."""
    name = _variable(path)
    if name and number in UNWRITABLE:
        return f"set {name} to a folder that can be written"
    hint = HINTS.get(number, "check the path")
    return f"{hint}, or set {name} to a folder of another disk" if name and number == errno.ENOSPC else hint


def _variable(path: str) -> str | None:
    """The variable of the environment that says where a file is, other than the user's own."""
    home = Path.home()
    places = {
        "ALMR_CACHE": cache.root(),
        "HF_HOME": Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface"),
        "MPLCONFIGDIR": Path(os.environ.get("MPLCONFIGDIR") or home / ".config" / "matplotlib"),
        "HOME": home / ".ray",
    } | ({} if Path(path).is_relative_to(Path.cwd()) else {"TMPDIR": _temporary()})  # a user may work below it
    inside = [(len(place.parts), name) for name, place in places.items() if Path(path).is_relative_to(place)]
    return max(inside)[1] if inside else None


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108 (only to name the variable)
