"""`trainer`: what trains the trials."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from sweep.study.fields import Section, Several, Text, TrainerName


class TrainerChoice(Section):
    """What trains the trials. `trainer: llamafactory` is short for `trainer: {name: llamafactory}`."""

    name: TrainerName = "native"
    """Our own trainer, one that a launch can be exported to, or `command`: a program of yours."""
    command: Several[Text] = ()
    """With `name: command`, the program and its arguments. It gets a JSON file as its last argument."""
    environment: str | None = None
    """Folder of the virtual environment that has the trainer. Default: `$ALMR_EXPORT_VENVS/NAME`."""
    container: Several[Text] = ()
    """Words before each of its commands, such as `[apptainer, exec, --nv, trainer.sif]`. Default: no container."""
    variables: dict[str, str] = Field(default_factory=dict)
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

    def recipe(self) -> dict[str, Any]:
        """What a trial's numbers depend on: records of two trainers are of two recipes."""
        return self.model_dump(mode="json", include={"name", "command"})
