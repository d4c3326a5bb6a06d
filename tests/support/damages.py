"""The list of damages to a file, and of what may be damaged in a run: the suite's test and the soak share it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

TRIAL = "trials/almr=0.50_lr=3e-03_seed=0"
OF_A_TRIAL = ("record.json", "trial.json", "metrics.jsonl", "train.log", "questions.json", "heartbeat")
FILES = (
    *("study.yaml", "ingredients.json", "provenance.json", "search.json", "parity.json", "lock.json"),
    *(f"{TRIAL}/{name}" for name in OF_A_TRIAL),
    "trials/almr=0.10_lr=1e-02_seed=0/kept.json",
    *("base/scores.json", "base/failures.json", "base/questions.json"),
    *("trials.csv", "fit.json", "surfaces.json", "scores.csv", "scores.md", "report.html", "figures/objective.png"),
    *("launch/evidence.json", "launch/GO.md", "launch/native/study.yaml", "launch/confirm/plan.json"),
    *("confirmation/judgement.json", "confirmation/results.csv", "confirmation/previous-evidence.json"),
    *("code/sweep/store/run.py", ".mirror.json"),
)
LOCK = {
    **{"token": "t", "user": "someone", "host": "elsewhere", "process": 1},
    **{"since": "2026-01-01T00:00:00Z", "beat": "2026-01-01T00:00:00Z"},
}


class Damage(NamedTuple):
    """`do` damages a file that exists, in its place or by another."""

    name: str
    do: Callable[[Path], Any]


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda path: _write(path, change(path.read_bytes()))


def _write(path: Path, content: bytes) -> None:
    """As another file: the old one may have several names."""
    path.unlink()
    path.write_bytes(content)


def _instead(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def do(path: Path) -> None:
        path.unlink()
        make(path)

    return do


def _huge(path: Path) -> None:
    """200 MB, of which the disk holds nothing."""
    _write(path, path.read_bytes())
    with path.open("r+b") as file:
        file.truncate(200 * 2**20)


BYTES = (
    Damage("empty", _bytes(lambda old: b"")),
    Damage("cut to a byte", _bytes(lambda old: old[:1])),
    Damage("cut in half", _bytes(lambda old: old[: len(old) // 2])),
    Damage("cut at the end", _bytes(lambda old: old.rstrip()[:-1])),
    Damage("zeros", _bytes(lambda old: b"\0" * len(old))),
    Damage("half zeros", _bytes(lambda old: old[: len(old) // 2] + b"\0" * (len(old) - len(old) // 2))),
    Damage("utf-16", _bytes(lambda old: old.decode("latin-1").encode("utf-16"))),
    Damage("utf-16 without a mark", _bytes(lambda old: old.decode("latin-1").encode("utf-16-le"))),
    Damage("bad utf-8", _bytes(lambda old: old[: len(old) // 2] + b"\xff\xfe" + old[len(old) // 2 :])),
    Damage("nested lists", _bytes(lambda old: b"[" * 100_000 + b"]" * 100_000)),
    Damage("nested objects", _bytes(lambda old: b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    Damage("other content", _bytes(lambda old: b"\x89PNG\r\n\x1a\n" + bytes(range(256)))),
    Damage("twice", _bytes(lambda old: old + old)),
    Damage("huge", _huge),
    Damage("a folder", _instead(Path.mkdir)),
    Damage("a pipe", _instead(os.mkfifo)),
    Damage("a device", _instead(lambda path: path.symlink_to("/dev/zero"))),
    Damage("a link to nothing", _instead(lambda path: path.symlink_to("/nowhere/at/all"))),
    Damage("a link to itself", _instead(lambda path: path.symlink_to(path.name))),
)
MARKED = Damage("with a mark", _bytes(lambda old: b"\xef\xbb\xbf" + old))  # of UTF-8: it is read
MISSING = Damage("missing", Path.unlink)
WHOLE = (
    *(("[]", b"[]"), ("null", b"null"), ("5", b"5"), ("text", b'"text"'), ("{}", b"{}"), ("NaN", b"NaN")),
    *(("newer", b'{"schema_version": 99}'), ("a version of text", b'{"schema_version": "x"}')),
)
OF_JSON = tuple(Damage(f"content {name}", _bytes(lambda old, content=content: content)) for name, content in WHOLE)
VALUES = (
    *("NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e29", "-1", "0", "1.5", "1e-320", "true", "null"),
    *('"text"', '""', "[]", "{}", '"../../evil"', "1" + "0" * 400, '"' + "x" * 10_000 + '"'),
)


def leaves(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value of a JSON file, and of the first item of a long list."""
    parts = (
        content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    )
    for name, part in parts:
        yield (*path, name)
        yield from leaves(part, (*path, name))


def with_value(place: tuple[str | int, ...], value: str) -> Damage:
    """The file with one value in JSON's words instead of its own, whatever JSON allows."""

    def do(path: Path) -> None:
        content = json.loads(path.read_text())
        held = content
        for part in place[:-1]:
            held = held[part]
        held[place[-1]] = "@here@"
        _write(path, json.dumps(content).replace('"@here@"', value).encode())

    return Damage(f"{'.'.join(map(str, place))} = {value[:20]}", do)


def random_bytes(seed: int) -> Damage:
    """A few bytes of the file changed, removed or put in."""

    def change(old: bytes) -> bytes:
        dice, new = random.Random(seed), bytearray(old)
        for _ in range(dice.choice([1, 1, 2, 8])):
            at = dice.randrange(len(new) + 1)
            new[at : at + dice.choice([0, 1, 1, 4])] = dice.randbytes(dice.choice([0, 1, 1, 4]))
        return bytes(new)

    return Damage(f"random bytes {seed}", _bytes(change))


class Case(NamedTuple):
    file: str
    damage: Damage

    @property
    def name(self) -> str:
        return f"{self.file}: {self.damage.name}"

    def apply(self, run: Path) -> None:
        path = run / self.file
        if self.file == "lock.json":
            path.write_text(json.dumps(LOCK))
        if self.file == ".mirror.json":
            path.write_text("{}")
        self.damage.do(path)


def listed(run: Path) -> list[Case]:
    """Every file with every damage that suits it."""
    found = [Case(file, damage) for file in FILES for damage in (*BYTES, MARKED, MISSING)]
    found += [Case(file, damage) for file in FILES for damage in OF_JSON if file.endswith((".json", ".yaml"))]
    found += [Case("lock.json", with_value((name,), value)) for name in LOCK for value in VALUES]
    found.append(Case("lock.json", with_value(("beat",), '"2026-01-01T00:00:00"')))
    return [*found, *(Case(FOLDERS, damage) for damage in OF_FOLDERS)]


def of_values(run: Path, files: tuple[str, ...] = FILES) -> list[Case]:
    """Every value of every JSON file with every wrong one."""
    there = [file for file in files if file.endswith(".json") and (run / file).is_file()]
    parsed = {file: json.loads((run / file).read_text()) for file in there if file != "launch/confirm/plan.json"}
    places = [(file, place) for file, content in parsed.items() for place in leaves(content)]
    return [Case(file, with_value(place, value)) for file, place in places for value in VALUES]


FOLDERS = ""  # the run itself


def _copied(name: str) -> Callable[[Path], Any]:
    return lambda run: shutil.copytree(run / TRIAL, run / "trials" / name)


def _named(trial_id: str) -> Callable[[Path], Any]:
    return lambda run: with_value(("trial_id",), json.dumps(trial_id)).do(run / TRIAL / "record.json")


def _of_another_study(run: Path) -> None:
    with_value(("fingerprint",), '"0000000000000000"').do(run / TRIAL / "record.json")


def _swapped(run: Path) -> None:
    one, other = (run / TRIAL / "record.json", run / "trials/almr=0.10_lr=1e-02_seed=0/record.json")
    first, second = one.read_bytes(), other.read_bytes()
    _write(one, second)
    _write(other, first)


OF_FOLDERS = (
    Damage("a trial's folder copied", _copied("backup")),
    Damage("a trial's folder copied to a hidden name", _copied("z copy")),
    Damage("a record that names a path", _named("../../evil")),
    Damage("a record that names many lines", _named("two\nlines" * 99)),
    Damage("two records swapped", _swapped),
    Damage("trials is a file", lambda run: (shutil.rmtree(run / "trials"), (run / "trials").write_text("x"))),
    Damage("a trial's folder is a file", lambda run: (shutil.rmtree(run / TRIAL), (run / TRIAL).write_text("x"))),
    Damage("base is a file", lambda run: (shutil.rmtree(run / "base"), (run / "base").write_text("x"))),
    Damage("figures is a file", lambda run: (shutil.rmtree(run / "figures"), (run / "figures").write_text("x"))),
    Damage("launch is a file", lambda run: (shutil.rmtree(run / "launch"), (run / "launch").write_text("x"))),
    Damage("launch is a link", lambda run: (shutil.rmtree(run / "launch"), (run / "launch").symlink_to("/nowhere"))),
    Damage("code is a file", lambda run: (shutil.rmtree(run / "code"), (run / "code").write_text("x"))),
)
