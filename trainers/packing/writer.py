"""What writes the packed text of a launch for one trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trainers.packing.blocks import LaunchBlocks

Written = Callable[[int], None]  # receives the number of blocks that were written since it was called last


class PackedWriter(Protocol):
    """`write` fills an empty folder; `size` is how many bytes that takes, at most."""

    def write(self, blocks: LaunchBlocks, folder: Path, written: Written) -> None: ...

    def size(self, blocks: LaunchBlocks) -> float: ...
