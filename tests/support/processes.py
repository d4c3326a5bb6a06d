"""Whether a process is still there."""

from __future__ import annotations

import os
from pathlib import Path


def alive(path: Path) -> bool:
    """The process whose number a file has; a file that is not there yet is of none."""
    try:
        os.kill(int(path.read_text()), 0)
    except (ProcessLookupError, FileNotFoundError, ValueError):
        return False
    return True
