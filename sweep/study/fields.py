"""The kinds of value that a study is written in, and how they forgive YAML. A leaf: pydantic only."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Field


def number(value: Any) -> Any:
    """YAML 1.1 reads `1e-5` as text; a user means a number."""
    if isinstance(value, bool):
        raise ValueError("write a number, not true or false")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None
    return value


def listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Finite = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]
Share = Annotated[Finite, Field(ge=0, le=1)]
Count = Annotated[int, BeforeValidator(number), Field(gt=0)]
Pattern = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, BeforeValidator(number), Field(ge=0, lt=2**32)]
Natural = Annotated[int, BeforeValidator(number), Field(ge=0)]


def exactly_one(model: pydantic.BaseModel, *fields: str) -> None:
    given = [name for name in fields if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(fields)} (found {', '.join(given) or 'none'})")


def nearest_multiple(value: int, unit: int) -> int:
    """The multiple of `unit` that a value may have meant, at least one."""
    return max(1, round(value / unit)) * unit


class Schema(pydantic.BaseModel):
    """A frozen row or file of this product: an unknown field is an error, never ignored."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


LANGUAGES: tuple[str, str] = ("original", "additional")


class Section(Schema):
    """A section of a study file. The string below a field is its description in docs/study.md."""

    model_config = pydantic.ConfigDict(use_attribute_docstrings=True)
