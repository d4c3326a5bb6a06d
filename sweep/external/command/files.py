"""The files of a run of a program that trains trials, and the script that starts it. Imports no torch."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweep.external.runs.start import TrainerEnvironment
from sweep.study.files.atomic import write_atomically


@dataclass(frozen=True)
class CommandFiles:
    """The folder of a run. Checkpoints stay there when the run is started again."""

    folder: Path

    @property
    def request(self) -> Path:
        """Written last of what the program is given."""
        return self.folder / "request.json"

    @property
    def answer(self) -> Path:
        return self.folder / "answer.json"

    @property
    def program(self) -> Path:
        """Which version of the program wrote the checkpoints."""
        return self.folder / "program.txt"

    @property
    def start(self) -> Path:
        return self.folder / "start.sh"

    @property
    def row_sources(self) -> Path:
        return self.folder / "row_sources.bin"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether anything is there; a program may have removed the folder."""
        return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

    @property
    def log(self) -> Path:
        """The output of a program that no trial started."""
        return self.folder / "program.log"

    @property
    def words(self) -> tuple[str, ...]:
        """The command that starts the program."""
        return ("bash", str(self.start))

    def renew(self, command: tuple[str, ...], environment: TrainerEnvironment) -> None:
        """Before the program is started, also again: no old answer, and the script as the study states it now."""
        _remove(self.answer)
        if not self.checkpoints.is_dir():
            _remove(self.checkpoints)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_atomically(self.start, "\n".join(self._script(command, environment)) + "\n")

    def _script(self, command: tuple[str, ...], environment: TrainerEnvironment) -> Iterator[str]:
        """A person can run it too. PYTHONPATH is that of our own processes: the program's packages are not there."""
        yield "#!/usr/bin/env bash"
        yield "# Starts the program that trains this trial. almr writes this file."
        yield "set -euo pipefail"
        yield f"cd {shlex.quote(str(self.folder))}"
        yield "unset PYTHONPATH PYTHONSAFEPATH"
        yield f"exec {shlex.join(environment.words([*command, str(self.request)]))}"


def _remove(path: Path) -> None:
    """Remove what a program left there, which may be a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
