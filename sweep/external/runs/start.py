"""Starts the scripts of a launch as a user does, with the trainer's environment, and stops them with all they started.

The processes run below the supervisor of worker groups: they end with this one, however it ends.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.external.read_back.verify import in_ours, interpreter
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.worker.group.node import CODE

SECONDS_BETWEEN = 0.1
STOP_SECONDS = 60.0
SCRIPTS = (".py", ".sh")
WRITE_PATH = "write its path, relative to the study file, or to this folder where it is given as CMD"
VERSION_SECONDS = 60.0  # a container starts first
OURS = sys.executable
PACKAGES = {
    "llamafactory": "llamafactory",
    "axolotl": "axolotl",
    "trl": "trl",
    "torchtitan": "torchtitan",
    "megatron": "megatron-core",
}
NEEDS_GPU = ("torchtitan", "megatron")  # by themselves: tests/exports/cpu adds what they lack
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


@dataclass(frozen=True)
class TrainerEnvironment:
    """The Python that has a format's trainer, and environment variables of its runs. `why_not`: there is none.
    `container`: words before each of its commands.
    """

    python: str
    variables: Mapping[str, str] = field(default_factory=dict)
    why_not: str | None = None
    container: tuple[str, ...] = ()

    @property
    def all_variables(self) -> dict[str, str]:
        """The trainer's programs come first, our own last: prepare.sh calls almr. A container has its own."""
        if self.container:
            return dict(self.variables)
        own = [str(Path(self.python).parent), os.environ.get("PATH", ""), str(Path(sys.executable).parent)]
        return {"PATH": os.pathsep.join(filter(None, own)), **self.variables}

    def words(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The command as the trainer's environment runs it, with these environment variables and its own."""
        named = {**(variables or {}), **self.all_variables}
        return (*self.container, "env", *(f"{name}={value}" for name, value in named.items()), *command)


@dataclass(frozen=True)
class Ended:
    """How a script ended. `stopped`: by the caller. `fault`: why it did not end well, else None."""

    seconds: float
    stopped: bool = False
    fault: str | None = None


@dataclass(frozen=True)
class Script:
    """A script of a launch's folder, its variables beside those of the environment, its log, and its time limit."""

    path: Path
    variables: Mapping[str, str]
    log: Path
    seconds: float

    def run(self, watch: Callable[[float], bool] = lambda seconds: False) -> Ended:
        """Run it to its end, or until `watch`, which is called several times a second, returns True."""
        began = time.monotonic()
        with self._started() as process:
            assert process.stdout
            while not select.select([process.stdout], [], [], SECONDS_BETWEEN)[0]:
                seconds = time.monotonic() - began
                if watch(seconds):
                    return Ended(seconds, stopped=True)
                if seconds > self.seconds:
                    return Ended(seconds, fault=f"{self.path.name} took over {self.seconds / 60:,.0f} minutes")
            answer = process.stdout.read()
        status = json.loads(answer)["exit_status"] if answer else -9
        return Ended(time.monotonic() - began, fault=self._fault(status))

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        """The supervisor of the script; at the end no process of it is left."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = ["env", *(f"{name}={value}" for name, value in self.variables.items()), "bash", str(self.path)]
        request = {"command": command, "log": str(self.log), "grace_seconds": 0.0, "locks": []}
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sweep.worker.group.supervisor", json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CODE,
            start_new_session=True,  # Ctrl-C reaches only this process, which then closes the pipe
        )
        try:
            yield process
        finally:
            assert process.stdin
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(STOP_SECONDS)

    def _fault(self, status: int) -> str | None:
        if status == 0:
            return None
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        return f"{self.path.name} ended with status {status}: {last[:200]} (log: {self.log})"


def environment(name: str, variables: Mapping[str, str] | None = None) -> TrainerEnvironment:
    """The environment of a format's trainer, as the read-back takes it."""
    python = interpreter(name)
    if name != "native" and python == sys.executable and not in_ours(name):
        return TrainerEnvironment(python, why_not=f"no environment for {name}: set ALMR_EXPORT_VENVS")
    return TrainerEnvironment(python, variables or {})


def of_choice(choice: TrainerChoice) -> TrainerEnvironment:
    """The environment that a study states for its trainer, else that of its format; of a command, with its program."""
    found = _of_choice(choice)
    if choice.container and not shutil.which(choice.container[0]):
        lost = f"trainer.container: {_not_found(choice.container[0])}"
        return replace(found, why_not=lost)
    if found.why_not or found.container or choice.name != "command":
        return found
    return replace(found, why_not=_lost_program(choice.command, found.all_variables["PATH"]))


def _lost_program(command: tuple[str, ...], path: str) -> str | None:
    """Which word of a command names a program or script that is not there; None where all are."""
    if not shutil.which(command[0], path=path):
        return f"command: {_not_found(command[0])}"
    lost = next((word for word in command if Path(word).suffix in SCRIPTS and not Path(word).is_file()), None)
    return lost and f"command: {lost}: no such file: {WRITE_PATH}"


def _not_found(program: str) -> str:
    if Path(program).is_file():
        return f"{program} cannot be started: name what starts it, such as python or bash, or make it executable"
    return f"{program}: no such program: {WRITE_PATH}"


def _of_choice(choice: TrainerChoice) -> TrainerEnvironment:
    container, variables = tuple(choice.container), choice.variables
    if choice.environment:
        python = Path(choice.environment).expanduser() / "bin" / "python"
        lost = f"trainer.environment: {choice.environment}: there is no {python}: name the folder of a virtual environment"
        return TrainerEnvironment(str(python), variables, None if container or python.exists() else lost, container)
    if container:
        return TrainerEnvironment("python", variables, None, container)
    if choice.name == "command":
        return TrainerEnvironment(sys.executable, variables)
    found = environment(choice.name, variables)
    if found.why_not:
        return replace(found, why_not=f"{found.why_not}, or trainer.environment in the study")
    return found


def installed(name: str) -> str:
    """The version of a format's trainer in its environment; empty where there is none, and of our own."""
    return version(environment(name), name)


def version(found: TrainerEnvironment, name: str) -> str:
    """The version of a format's trainer that its Python states; empty where there is none."""
    if found.why_not or name not in PACKAGES:
        return ""
    asked = [*found.container, found.python, "-I", "-c", VERSION, PACKAGES[name]]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=VERSION_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def fresh(folder: Path) -> Path:
    """An empty folder: a trainer resumes from whatever checkpoint it finds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
