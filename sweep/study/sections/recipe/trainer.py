"""`trainer`: what trains the trials."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sweep.study.fields import Section, Several, Text, TrainerName


def words(value: Any) -> Any:
    """A command that is written as one text is split as a shell would."""
    try:
        return tuple(shlex.split(value)) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{value}: {error}: write a list of words") from None


def _named_well(variables: dict[str, str]) -> dict[str, str]:
    """`env` would take other names for its own options."""
    for name, value in variables.items():
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
            raise ValueError(f"{name!r} cannot be set: a name has letters, digits and _, and a value no zero byte")
    return variables


class TrainerChoice(Section):
    """What trains the trials. `trainer: llamafactory` is short for `trainer: {name: llamafactory}`."""

    name: TrainerName = "native"
    """Our own trainer, one that a launch can be exported to, or `command`: a program of yours."""
    command: Annotated[Several[Text], BeforeValidator(words)] = ()
    """With `name: command`, the program and its arguments. It gets a JSON file as its last argument. Words that name a
    file beside the study file are that file.
    """
    environment: str | None = None
    """Folder of the virtual environment that has it. Default: `$ALMR_EXPORT_VENVS/NAME`; of a command, almr's own."""
    container: Annotated[Several[Text], BeforeValidator(words)] = ()
    """Words before each of its commands, such as `[apptainer, exec, --nv, trainer.sif]`. Default: no container."""
    variables: Annotated[dict[str, str], AfterValidator(_named_well)] = Field(default_factory=dict)
    """Environment variables of its processes, such as `PYTHONPATH`; no secrets, as the study is kept in the run."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        return {"name": content} if isinstance(content, str) else content

    @model_validator(mode="after")
    def _command_has_words(self) -> Self:
        if (self.name == "command") != bool(self.command):
            raise ValueError(
                "name: command needs command, such as command: [python, train.py]; no other trainer takes one"
            )
        if self.name == "native" and (self.environment or self.container or self.variables):
            raise ValueError("environment, container and variables are of other trainers: remove them, or write a name")
        return self

    @property
    def external(self) -> bool:
        """Whether another program than ours trains."""
        return self.name != "native"

    def beside(self, folder: Path) -> Self:
        """With absolute paths, where they are relative to a folder. Links stay: the python of an environment is one."""
        command = words_beside(folder, self.command)
        environment = self.environment and str(_absolute(folder, self.environment))
        return self.model_copy(update={"command": command, "environment": environment})

    def recipe(self) -> dict[str, Any]:
        """What a trial's numbers depend on: records of two trainers are of two recipes. The folder of a program does
        not count, so that a study can be moved with it.
        """
        command = [Path(word).name if Path(word).is_absolute() else word for word in self.command]
        return {"name": self.name, "command": command}


def words_beside(folder: Path, command: Iterable[str]) -> tuple[str, ...]:
    """A command whose words that name a file in the folder, or relative to it, are that file."""
    return tuple(str(path) if (path := _absolute(folder, word)).is_file() else word for word in command)


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.abspath(folder / Path(path).expanduser()))
