"""The kinds of value in a study file, and the base classes of its sections and of the files of a run."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AllowInfNan, BeforeValidator
from pydantic_core import PydanticCustomError, PydanticKnownError


def number(value: Any) -> Any:
    """Convert text to a number: YAML 1.1 reads `1e-5` as text. Refuse true and false, which pydantic reads as 1 and 0.

    A resolver for all of YAML would turn other text into numbers, such as the git revision 12e4567.
    """
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # pydantic then names the field
            return float(value)
    return value


def listed(value: Any) -> Any:
    """A list of one value may be written as the value."""
    return value if isinstance(value, list | tuple) else [value]


LARGEST_COUNT = 10**18  # more tokens than were ever written; larger integers overflow in estimates
# Without pydantic's Field, which up to pydantic 2.11 passes one field's default on to others of the same alias.
Finite = Annotated[float, BeforeValidator(number), AllowInfNan(False)]
Positive = Annotated[Finite, Gt(0)]
Share = Annotated[Finite, Ge(0), Le(1)]
Count = Annotated[int, BeforeValidator(number), Gt(0), Le(LARGEST_COUNT)]
Text = Annotated[str, MinLen(1)]
Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
LanguageName = Annotated[str, pydantic.StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=60)]
Seed = Annotated[int, BeforeValidator(number), Ge(0), Lt(2**32)]
Natural = Annotated[int, BeforeValidator(number), Ge(0), Le(LARGEST_COUNT)]
TrainerName = Literal["native", "llamafactory", "axolotl", "torchtitan", "megatron", "command"]
Item = TypeVar("Item")
Several = Annotated[tuple[Item, ...], BeforeValidator(listed)]
OneOrMore = Annotated[Several[Item], MinLen(1)]


def exactly_one(model: pydantic.BaseModel, *fields: str) -> None:
    """Raises ValueError unless exactly one of the fields is given."""
    given = [name for name in fields if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(fields)} (found {', '.join(given) or 'none'})")


def nearest_multiple(value: int, unit: int) -> int:
    """The positive multiple of `unit` nearest to a value."""
    return max(1, round(value / unit)) * unit


def largest_divisor(value: int, most: int) -> int:
    """The largest divisor of a value that is at most `most`; 0 where that is 0."""
    return next((n for n in range(most, 0, -1) if value % n == 0), 0)


class Schema(pydantic.BaseModel):
    """A frozen, validated object: an unknown field is an error, never ignored."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


NOT_SHOWN = "not_shown"  # of an error whose message must not show the value


def _variable(value: Any) -> Any:
    """The name of a variable. What was written instead may be the secret itself."""
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,99}", value):
        raise PydanticCustomError(
            NOT_SHOWN, "write the name of an environment variable, such as SLACK_WEBHOOK, not the secret itself"
        )
    return value


VariableName = Annotated[str, BeforeValidator(_variable)]
LANGUAGES: tuple[str, str] = ("original", "additional")
MAPPING, LIST = "(mapping)", "(list)"  # tags of a field that takes either; messages leave them out of its path


PASSWORD = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")  # `user:password` of an address


class Section(Schema):
    """A section of a study file. The string below a field is its description in the documentation."""

    model_config = pydantic.ConfigDict(use_attribute_docstrings=True)

    @pydantic.field_validator("*")
    @classmethod
    def _without_password(cls, value: Any) -> Any:
        """A study is kept in its run, its bundle and its report."""
        texts = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else [value]
        if any(isinstance(text, str) and PASSWORD.search(text) for text in texts):
            raise ValueError("holds a password, and a study is kept in its run: give it by the environment instead")
        return value
