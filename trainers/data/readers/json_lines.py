"""JSON Lines, and files that hold one JSON array or object: the text in one field of each record."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from sweep.study.errors import shown
from sweep.study.files.patterns import suffix
from trainers.data.readers import opening
from trainers.data.readers.alike import Alike
from trainers.data.readers.place import Place, Repeated

AROUND = 20  # characters that a message shows on both sides of a fault
ESCAPE = len("\\ud83d\\u")  # a fault in an escape so near to the end means that the rest is missing
WORDS = ("true", "false", "null")


def _marking_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        found |= {key: Repeated() for key in found if keys.count(key) > 1}
    return found


# The slower ones are for the lines that need them. Python does not read an integer of thousands of digits; as a
# float it does no harm in a field that nobody asked for.
PLAIN = (json.JSONDecoder(), json.JSONDecoder(parse_int=float))
THOROUGH = tuple(json.JSONDecoder(object_pairs_hook=_marking_repeated, parse_int=parse) for parse in (None, float))


def documents(place: Place, encoding: str, field: str, alike: Alike) -> Iterator[bytes]:
    """The text of each record as UTF-8, in order; other fields may hold anything. Empty lines are skipped.
    `alike` is told each record.

    Raises InputError that names file and line for what is no JSON, or has no text in the field.
    """
    for at, number, record in records(place, encoding, {field, *field.split(".")}, alike):
        yield at.document(at.lookup(record, field, number), field, number)


def records(place: Place, encoding: str, names: Collection[str], alike: Alike) -> Iterator[tuple[Place, int, Any]]:
    """The value of each record, with the place that counts them and its number there. Empty lines are skipped.
    `names`: the keys that are looked at, which must not be written twice; `alike` is told each record.

    Raises InputError that names file and line for what is no JSON.
    """
    keys = [_key(name) for name in sorted(names)]
    numbered = enumerate(opening.lines(place, encoding), 1)
    started = False
    for number, line in numbered:
        if not line or line.isspace():
            continue
        if not started and (line.lstrip().startswith("[") or _is_begun_object(place, line)):
            yield from _whole(place, alike, itertools.chain([(number, line)], numbered))
            return
        started = True
        record = _value(place, number, line.removeprefix("\ufeff"), any(len(key.findall(line)) > 1 for key in keys))
        alike.record(record)
        yield place, number, record


def _key(name: str) -> re.Pattern[str]:
    """A key of an object in every spelling that JSON allows: with any character as itself or as an escape."""
    spelled = []
    for character in name:
        units = character.encode("utf-16-be").hex()
        escaped = "".join(rf"\\u(?i:{units[i : i + 4]})" for i in range(0, len(units), 4))
        plain = re.escape(json.dumps(character, ensure_ascii=False)[1:-1])
        spelled.append(f"(?:{plain}|{escaped}{'|' + re.escape(chr(92) + '/') if character == '/' else ''})")
    return re.compile(f'"{"".join(spelled)}"[ \t\r\n]*:')


def _is_begun_object(place: Place, line: str) -> bool:
    """Whether a .json file holds an object over several lines."""
    if suffix(place.name) != ".json":
        return False
    try:
        PLAIN[1].decode(line)
    except (ValueError, RecursionError):
        return True
    return False


def _value(place: Place, number: int, text: str, thorough: bool, whole: bool = False) -> Any:
    """The JSON value that begins on line `number`."""
    for decoder in THOROUGH if thorough else PLAIN:
        try:
            return decoder.decode(text)
        except RecursionError:
            raise place.fault("is nested too deeply: correct or remove it", number) from None
        except json.JSONDecodeError as error:
            line = number + min(error.lineno - 1, text.rstrip().count("\n"))
            raise place.fault(_not_json(text, error, whole), line) from None
        except ValueError:
            continue  # the integer, see above
    raise place.fault("holds a number that cannot be read: correct or remove it", number)


def _not_json(text: str, error: json.JSONDecodeError, whole: bool) -> str:
    """What is wrong with a value, and the fix."""
    if "\0" in text:
        return "holds NUL bytes: it is binary or damaged, or UTF-16 (then state `encoding: utf-16-le`)"
    if error.msg.startswith("Invalid control character"):
        raw = shown(text[error.pos])
        return f"holds a raw control character ({raw}) inside a text: write it as an escape (\\t, \\n, \\u001b)"
    if error.msg == "Extra data" and "\r" in text[: error.pos].rstrip("\n"):
        return "its lines end with CR alone: convert them (tr '\\r' '\\n' < FILE)"
    if error.msg == "Extra data":
        return f"more follows the JSON value ({_excerpt(text, error.pos)}): write one object per line"
    rest = text.rstrip()[error.pos :]
    unfinished = not rest or any(word.startswith(rest) for word in WORDS)
    cut = unfinished or error.msg.startswith("Unterminated") or (len(rest) < ESCAPE and "escape" in error.msg)
    if cut and (whole or not text.endswith("\n")):
        return "is cut off: fetch the file again, or remove what is incomplete"
    if cut:
        return "the JSON value does not end on its line: write one object per line (jq -c . FILE does that)"
    return f"is not JSON ({_excerpt(text, error.pos)}): write one object per line, or remove the line"


def _excerpt(line: str, position: int) -> str:
    return shown(line[max(0, position - AROUND) : position + AROUND].strip())


def _whole(place: Place, alike: Alike, numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[Place, int, Any]]:
    """The records of a file that holds one array or object, which is read as a whole."""
    text: list[str] = []
    start = size = 0
    for number, line in numbered:
        start = start or number
        size += len(line)
        if size > opening.LONGEST:
            problem = f"one JSON value of over {opening.LONGEST:,} characters"
            raise place.fault(f"{problem}: write JSON Lines (jq -c '.[]' FILE)")
        text.append(line)
    counted = Place(place.where, place.name, "element")
    found = _value(place, start, "".join(text), thorough=True, whole=True)
    if not isinstance(found, list):
        alike.holds = False  # no other trainer reads it
    for number, item in enumerate(found if isinstance(found, list) else [found], 1):
        alike.record(item)
        yield counted, number, item
