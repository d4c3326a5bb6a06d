"""The reference of every study field, `docs/study.md`, written from the pydantic schema."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union

import pydantic
from pydantic.fields import FieldInfo

from sweep.study import Study

HEAD = """# Every field of a study

`make docs` writes this page from the schema in `sweep/study/`; do not edit it.

- A field that is not listed here is an error. A field without a default is **required**.
- Numbers may be written as `1e-5`. A single value may stand for a list of one.
- A file has at most 1 MB, 120,000 values (its aliases written out) and 50 levels, a value at most 10,000 characters.
- A grid of over 5,000 trials is refused with its arithmetic, unless `grid.max_trials` says that it is meant.
- Paths are relative to the study file. Losses are in nats per token, lengths in tokens.
- Examples: [the commented demo](../sweep/studies/demo.yaml) and [a small study](README.md#your-own-study).

**What you may change between runs.** The *recipe* is what a trial's losses depend on: `base_model`, `corpora`, `replay`
and `training`. `almr run` refuses a run directory whose trials have another recipe. With `training.simulate_epochs`,
`tokens` and `corpora` of `launch` are part of it. All other sections may change. So may `base_model.shape`, a corpus'
`tokens` and `language`, and `training.log_every`, `training.evaluate_every` and `training.micro_batch_sequences`.
"""
Model = type[pydantic.BaseModel]
LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true`, `false`",
    Any: "as a study has",
}


class Reference:
    """The page. `places` maps each schema to every path at which a study has it; the page describes it once."""

    def __init__(self) -> None:
        self.places: dict[Model, list[str]] = {}
        for path, schema in sections():
            if path not in self.places.setdefault(schema, []):
                self.places[schema].append(path)

    def page(self) -> str:
        return "\n".join([HEAD, *(line for schema in self.places for line in self._section(schema))]).rstrip() + "\n"

    def _section(self, schema: Model) -> Iterator[str]:
        """A heading, what the schema says of itself, and its fields."""
        yield f"## {self._heading(schema)}\n"
        if schema is not Study and "__doc__" in vars(schema) and schema.__doc__:
            yield inspect.cleandoc(schema.__doc__) + "\n"
        yield "| field | value | default | meaning |\n|---|---|---|---|"
        for name, field in schema.model_fields.items():
            value = self._value(field.annotation, field.metadata)
            yield f"| `{field.alias or name}` | {value} | {_default(field)} | {_meaning(field.description)} |"
        yield ""

    def _heading(self, schema: Model) -> str:
        return ", ".join(f"`{path}`" for path in self.places[schema]) if schema is not Study else "The study"

    def _value(self, kind: Any, marks: Iterable[Any]) -> str:
        """What may be written there, in words. `marks`: pydantic's constraints."""
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is Annotated:
            return self._value(inner[0], [*inner[1:], *marks])
        if origin in (Union, types.UnionType):
            return " or ".join(self._value(one, marks) for one in inner if one is not types.NoneType)
        if origin is Literal:
            return ", ".join(f"`{choice}`" for choice in inner)
        if origin is dict:
            return f"section of names and values: {self._value(inner[1], ())}"
        if origin is tuple and inner[-1] is not Ellipsis:
            return f"[{', '.join(self._value(one, ()) for one in inner)}]"
        if origin is tuple:
            return f"list: {self._value(inner[0], ())}"
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            return f"[section](#{anchor(self._heading(kind))})"
        return f"{KINDS[kind]} {_limits(marks)}".rstrip()


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def schemas(kind: Any) -> list[Model]:
    """The schemas that a field's value may have, itself or as an item of a list."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return [kind]
    return [found for inner in typing.get_args(kind) for found in schemas(inner)]


def sections(schema: Model = Study, path: str = "") -> Iterator[tuple[str, Model]]:
    """Every path at which a study has a schema, from the top down."""
    yield path, schema
    for name, field in schema.model_fields.items():
        for inner in schemas(field.annotation):
            yield from sections(inner, f"{path}.{field.alias or name}".lstrip("."))


def paths() -> set[str]:
    """Every field of a study, such as `training.schedule.warmup`."""
    return {
        f"{path}.{field.alias or name}".lstrip(".")
        for path, schema in sections()
        for name, field in schema.model_fields.items()
    }


def _limits(marks: Iterable[Any]) -> str:
    """The tightest lower and upper limit."""
    flat = [one for mark in marks for one in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    limits = {
        word: [v for mark in flat if (v := getattr(mark, name, None)) is not None] for name, word in LIMITS.items()
    }
    lower = max(((max(v), word) for word, v in limits.items() if v and word in ("above", "at least")), default=None)
    upper = min(((min(v), word) for word, v in limits.items() if v and word in ("below", "at most")), default=None)
    return " and ".join(f"{word} {limit:,.10g}" for limit, word in filter(None, (lower, upper)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value == () or isinstance(value, pydantic.BaseModel):
        return "–"
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|").strip()


def page() -> str:
    return Reference().page()
