"""The trials' held-out text in a launch: it is left out of the training text, and the launch is evaluated on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sweep.study.files.atomic import sha256

FOLDER = "held_out"
SMALL = 50_000_000  # bytes of all texts together, up to which a bundle has a copy


@dataclass(frozen=True)
class HeldOutText:
    """`files`: the held-out documents of each source as JSON Lines. `lost`: why there is none of a source, by name.
    `beside`: where another folder of the bundle has the copy, the way to it.
    """

    files: dict[str, Path] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    beside: str = ""

    @cached_property
    def paths(self) -> dict[str, str]:
        """Of each source: the path in a format's folder, or an absolute one where the texts are large."""
        small = sum(file.stat().st_size for file in self.files.values()) <= SMALL
        return {
            name: f"{self.beside}{FOLDER}/{name}.jsonl" if small else str(file) for name, file in self.files.items()
        }

    @cached_property
    def digests(self) -> dict[str, str]:
        """The sha256 of each source's file."""
        return {name: sha256(file) for name, file in self.files.items()}

    def copy(self, folder: Path) -> None:
        """Copy what is small into a format's folder, unless it lies `beside` it."""
        if self.beside:
            return
        for name, path in self.paths.items():
            if path != str(self.files[name]):
                (folder / FOLDER).mkdir(exist_ok=True)
                shutil.copyfile(self.files[name], folder / path)
