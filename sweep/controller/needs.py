"""What Ray needs of this machine: address space, and a folder for its logs and sockets."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from sweep.store import temporary
from sweep.study import InputError
from sweep.study.errors import resource_limit, small_address_space

ADDRESS_SPACE = 4 * 2**30  # bytes; 3.3 GiB measured in the driver, on two cores
NEEDED_BYTES = 50 * 2**20  # for Ray's logs and sockets
LONGEST_FOLDER = 22  # letters: a socket's whole path has at most 107, of which Ray's own part takes the rest


def file_limit() -> str:
    limit = resource_limit(resource.RLIMIT_FSIZE)
    return f"files may have {limit // 1024} kB: ulimit -f" if limit is not None else ""


def refuse_small_address_space() -> None:
    """Raises InputError: Ray would abort this process."""
    limit = resource_limit(resource.RLIMIT_AS)
    if limit is not None and limit < ADDRESS_SPACE:
        need = f"and a process that uses Ray takes {ADDRESS_SPACE // 1024} kB of address space"
        raise InputError(small_address_space(limit, need))


def place() -> Path:
    """Where Ray's files go: the first folder that it can use. Raises InputError where there is none."""
    faults = []
    for place in dict.fromkeys(temporary.places()):
        if not (fault := _unusable(place)):
            return place
        faults.append(f"{place}: {fault}")
    raise InputError(f"no folder for Ray's temporary files ({'; '.join(faults)}): name one in RAY_TMPDIR")


def _unusable(place: Path) -> str:
    if not str(place).isascii():
        return "its path is not ASCII"
    if len(str(place)) > LONGEST_FOLDER:
        return f"its path is longer than {LONGEST_FOLDER} letters"
    if not os.access(place, os.W_OK | os.X_OK):
        return "cannot be written"
    free = shutil.disk_usage(place).free
    return "" if free >= NEEDED_BYTES else f"{free // 2**20} MB free, {NEEDED_BYTES // 2**20} MB needed"
