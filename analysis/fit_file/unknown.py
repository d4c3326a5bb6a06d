"""A number that a table does not state: NaN in memory, null in fit.json."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer


def _read(value: object) -> object:
    return math.nan if value is None else value


def _written(value: float) -> float | None:
    return None if math.isnan(value) else value


OrUnknown = Annotated[float, BeforeValidator(_read), PlainSerializer(_written, when_used="json")]
