"""`notify`: who is told when a run finishes, fails, stalls or is over its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, model_validator

from sweep.study.fields import OneOrMore, Positive, Section, Several, Text, VariableName
from sweep.study.sections.recipe.trainer import words, words_beside

Event = Literal["finished", "refused", "failed", "interrupted", "stalled", "over_budget"]
EVENTS: tuple[Event, ...] = get_args(Event)


class Notify(Section):
    """Messages about a run while it goes on, and at its end. They come from the machine on which `almr run` runs; one
    that cannot be sent is a warning.
    """

    webhook: VariableName | None = None
    """Name of the environment variable that holds the URL of a Slack-compatible webhook. The URL is a secret, and is
    kept nowhere. Default: none."""
    command: Annotated[Several[Text], BeforeValidator(words)] = ()
    """A program and its arguments, started without a shell. It gets the facts as JSON on standard input, and the
    variables `ALMR_EVENT`, `ALMR_STUDY`, `ALMR_RUN` and `ALMR_TEXT`. Words that name a file beside the study file are
    that file. Default: none."""
    events: OneOrMore[Event] = EVENTS
    """What to tell: `finished` (a winner), `refused` (a fit that is), `failed` (the run ended by an error, or the first
    trial failed on every try), `interrupted`, `stalled` or `over_budget`. Default: all."""
    stalled_minutes: Positive = 15.0
    """`stalled`: no trial has made progress for so long. Told once, and again only after progress."""
    gpu_hours: Positive | None = None
    """`over_budget`: the trials have taken more GPU-hours than this. Default: `search.gpu_hours`."""
    cost: Positive | None = None
    """`over_budget`: the trials' GPU-hours cost more than this at `resources.price_per_gpu_hour`. Default: no limit."""

    @model_validator(mode="after")
    def _tells_somebody(self) -> Self:
        if self.webhook is None and not self.command:
            raise ValueError("nobody is told: add webhook or command, or remove notify")
        return self

    def beside(self, folder: Path) -> Self:
        """With absolute paths, where they are relative to a folder."""
        return self.model_copy(update={"command": words_beside(folder, self.command)})
