"""An exception as the lines and the exit status that a user gets."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from sweep.study.errors import InputError, network_fault

BAD_INPUT = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
NETWORK = "check the network, then run the same command again"
HINTS = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "name a folder that can be written",
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space of your quota, then run the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class Explanation(NamedTuple):
    lines: list[str]
    status: int


def explain(error: Exception) -> Explanation:
    if _working_directory_is_gone():
        return Explanation(["the working directory was deleted: change to another one and try again"], BAD_INPUT)
    if isinstance(error, InputError):
        return Explanation(str(error).splitlines(), BAD_INPUT)
    if isinstance(error, OSError):
        return Explanation([_system(error)], BAD_INPUT)
    what = f"internal error: {type(error).__name__}: {_one_line(error)}"
    return Explanation([f"{what}; run again with --debug for the traceback and report it"], INTERNAL)


def _system(error: OSError) -> str:
    """Names the file if there is one. Libraries for the network derive their errors from OSError too."""
    if error.filename is not None:
        what, hint = f"{os.fsdecode(error.filename)}: {error.strerror or _one_line(error)}", "check the path"
    elif fault := network_fault(error):
        what, hint = f"{fault} ({_one_line(error)})", NETWORK
    else:
        what, hint = error.strerror or _one_line(error), "run again with --debug for the traceback"
    return f"{what}; {HINTS.get(error.errno or 0, hint)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _working_directory_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
