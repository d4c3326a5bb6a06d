"""One line of GO.md: a check, whether it is kept, and the number beside its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["fail", "warn", "not known", "pass"]
STATES: tuple[State, ...] = ("fail", "warn", "not known", "pass")


@dataclass(frozen=True)
class GoCheck:
    """`statement` is the check's short name. `pass`: it is kept. `fail`: it is broken, and the launch should not start.
    `warn`: it is doubtful, and someone has to accept that. `not known`: nothing was measured or stated that shows it.
    """

    statement: str
    state: State
    detail: str
