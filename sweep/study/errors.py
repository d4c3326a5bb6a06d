"""The error for wrong input from a user, and what pydantic finds wrong with a file, as one plain line per field."""

from __future__ import annotations

import difflib
import os
import re
import reprlib
import resource
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pydantic

from sweep.study.fields import LIST, MAPPING, NOT_SHOWN, PASSWORD

LONGEST = 60  # letters of a value that a message shows
MOST_LINES, LINE = 3, 300  # of a message, and letters of each
EXPECTED = {
    "bool": "true or false",
    "dict": "a mapping of fields",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "model": "a mapping of fields",
    "string": "text",
    "tuple": "a list",
}
NETWORK_ERRORS = {
    "ConnectionError",
    "HTTPError",
    "LocalEntryNotFoundError",
    "SSLError",
    "TransportError",
    "URLError",
    "gaierror",
}
TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")  # colours, titles and the like
UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_REPR = reprlib.Repr()  # a value may be a huge tree of YAML aliases
_REPR.maxstring = _REPR.maxother = LONGEST
SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|WEBHOOK|(?:API|ACCESS|PRIVATE|SHARED|ACCOUNT)_?KEY", re.IGNORECASE
)
SECRET_LENGTH = 8  # shorter values are words, which stand in a text by chance
QUERY = re.compile(r"(?i)([?&][\w.-]*(?:token|key|secret|password|signature|credential|sig)[\w.-]*=)[^&\s'\"]+")
UNITS = {"%": 0.01, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
LIMITS = {
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
}


class InputError(ValueError):
    """Wrong input from a user. The message names file, field and fix; it is shown as one line, with exit status 2."""


def without_secrets(text: str) -> str:
    """The text without passwords and tokens of addresses, and without the values of variables that are secrets."""
    hidden = QUERY.sub(r"\1...", PASSWORD.sub("...", text))
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= SECRET_LENGTH:
            hidden = hidden.replace(value, f"[{name}]")
    return hidden


def network_fault(error: BaseException) -> str | None:
    """One phrase for an error of the network, else None. Its classes' names decide: each library has its own."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if any("Timeout" in name for name in names):
        return "no answer in time"
    answer = getattr(getattr(error, "response", None), "status_code", getattr(error, "code", None))
    if "BrokenPipeError" in names or (isinstance(answer, int) and answer < 500):
        return None  # the server did answer: nothing is wrong with the network
    return "connection failed" if NETWORK_ERRORS & {*names} else None


def resource_limit(which: int) -> int | None:
    """A limit of this process (`resource.RLIMIT_...`), as the shell's ulimit sets it; None where there is none."""
    value = resource.getrlimit(which)[0]
    return None if value == resource.RLIM_INFINITY else value


def small_address_space(limit: int, need: str) -> str:
    """`limit`: in bytes. `need`: why that is too little."""
    return f"ulimit -v is {limit // 1024} kB, {need}: raise it (ulimit -v unlimited), then run the same command again"


def printable(text: str) -> str:
    """The text of a program in one line, without what would move or colour a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in TERMINAL.sub("", text)).split())


def one_line(error: BaseException, most: int = 300) -> str:
    """The message of an error without line breaks, or its type where it has none; of a long one, the first words."""
    text = printable(str(error)) or type(error).__name__
    return text if len(text) <= most else f"{text[:most].rpartition(' ')[0] or text[:most]} ..."


def explain(error: pydantic.ValidationError, schema: type[pydantic.BaseModel]) -> list[str]:
    """One line per wrong field, at most MOST_LINES: the last then counts the others. `schema`: what was validated."""
    given = error.errors(include_url=False)
    details = [*given[:1], *sorted(given[1:], key=lambda detail: detail["type"] != "extra_forbidden")]
    first = details[: MOST_LINES if len(details) <= MOST_LINES else MOST_LINES - 1]
    more = [f"and {len(details) - len(first):,} more wrong fields"] if len(details) > len(first) else []
    return [*(_line(detail, schema) for detail in first), *more]


def bounded(line: str, before: int = 0) -> str:
    """A line of a message, cut in its middle where it is too long: the file is at its beginning, the fix at its end.
    `before`: the letters that will stand before it.
    """
    half = (LINE - before) // 2
    return line if len(line) <= LINE - before else f"{line[:half]} ... {line[5 - half :]}"


def visible(text: str) -> str:
    """The text with what would move or colour a terminal, or turn its letters around, as escapes."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def name_of(field: str | int) -> str:
    """A field's name as messages show it: on one line, and cut where it is long."""
    text = visible(str(field)).replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def shown(value: Any) -> str:
    """A value as messages show it: close to YAML, and cut where it is long."""
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else _REPR.repr(value)
    text = text.replace("e-0", "e-") if isinstance(value, float) else text  # as one writes it: 1e-5
    text = PASSWORD.sub("...", text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _line(error: Any, schema: type[pydantic.BaseModel]) -> str:
    location = [part for part in error["loc"] if part not in (MAPPING, LIST)]
    kind, given = error["type"], error["input"]
    named = (f"[{part}]" if isinstance(part, int) else f".{name_of(part)}" for part in location)
    path = "".join(named).removeprefix(".")
    if kind == "extra_forbidden":
        return f"{path}: unknown field. {_suggestion(location, schema)}"
    if kind in LIMITS:
        value = float(given) if isinstance(given, str) else given  # YAML reads 1e308 as text
        return f"{path} is {shown(given)}: must be {_limit(kind, error['ctx'], value)}"
    fault = _fault(kind, error, given)
    return f"{path}: {fault}" if path else fault


def _fault(kind: str, error: Any, given: Any) -> str:
    if kind == "missing":
        return "required, but missing"
    if kind == NOT_SHOWN:
        return str(error["msg"])
    if kind == "invalid_key":
        return f"a field's name has to be a word, found {shown(given)}"
    if kind == "string_too_long":
        return f"{shown(given)} has more than {error['ctx']['max_length']:,} characters: shorten it"
    if kind == "literal_error":
        return f"expected {error['ctx']['expected']}, found {shown(given)}"
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} is not a name: use letters, digits, '.', '_' and '-', beginning with a letter or digit"
    if kind in ("too_short", "string_too_short"):
        return "it is empty: write at least one value"
    if kind == "too_long":
        return f"write {error['ctx']['max_length']} values, found {shown(given)}"
    subject, _, reason = kind.partition("_")
    if reason == "parsing_size":
        return f"{shown(given)} is too large"
    if subject in EXPECTED and reason.endswith(("type", "parsing", "number", "from_float")):
        return f"expected {EXPECTED[subject]}, found {shown(given)}{_as_number(given, error['loc'])}"
    message = error["msg"].removeprefix("Value error, ")
    of_sections = isinstance(given, list) and any(isinstance(item, dict) for item in given)
    whole = of_sections or isinstance(given, dict | pydantic.BaseModel)
    return message if whole else f"{message} (found {shown(given)})"


def _as_number(given: Any, location: Sequence[int | str]) -> str:
    """How to write 10% and 100M; empty for other values."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([%kKMGBT])", given) if isinstance(given, str) else None
    if not found:
        return ""
    in_percent = found[2] == "%" and str(location[-1]).endswith("percent")
    value = f"{float(found[1]) * (1 if in_percent else UNITS[found[2].lower()]):g}"
    return f". Write {value.replace('e+0', 'e').replace('e+', 'e')}"


def _limit(kind: str, limits: dict[str, float], given: float) -> str:
    """The broken limit; a share over 1 was probably meant in percent."""
    limit = "0 to 1" if limits.get("le") == 1 else LIMITS[kind].format(**limits)
    percent = 1 in limits.values() and 1 < given <= 100
    return f"{limit}. In percent? Write {given / 100:g}" if percent else limit


def _suggestion(location: Sequence[int | str], schema: type[pydantic.BaseModel]) -> str:
    """The known field of the same section that is spelled most like the unknown one, else all of them."""
    *section, field = location
    for part in section:
        inner = (_schemas(f.annotation) for name, f in schema.model_fields.items() if part in (name, f.alias))
        schema = next(next(inner, iter(())), schema)
    known = [field.alias or name for name, field in schema.model_fields.items()]
    close = difflib.get_close_matches(str(field), known, n=1)
    roles = ", the roles of the two corpora" if known == ["original", "additional"] else ""
    return f"Did you mean {close[0]}?" if close else f"Fields here: {', '.join(known)}{roles}"


def _schemas(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _schemas(argument)
