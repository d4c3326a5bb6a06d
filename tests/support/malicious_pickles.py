"""Pickles that run code when they are read: each leaves a file, so that a test sees whether it ran."""

from __future__ import annotations

import os
import pickle
from pathlib import Path


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))
