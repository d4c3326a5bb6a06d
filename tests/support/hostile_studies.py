"""Studies that are hostile or absurd: small texts that stand for much, values that no field takes, odd bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import yaml
from samples import study_content

PLAIN = yaml.safe_dump(study_content(), sort_keys=False)
ALMRS = "almr:\n  - 0.1\n  - 0.5\n  - 0.9"
LRS = "lr:\n  - 0.001\n  - 0.01"
NAMES = {
    "path parts": '"../../evil"',
    "line break": '"a\\nb"',
    "quote": '"a\'b"',
    "terminal code": '"\\e[31mred"',
    "turned letters": '"a\\u202Eb"',
    "long": "x" * 100_000,
    "half a pair": '"\\ud800"',
    "zero byte": '"a\\0b"',
}
ODD = ["2026-01-01", "1e400", ".inf", ".nan", "-0.0", "5e-324", "190:20:30", "0o777", "0777", "1e308", "~", "", "10%"]
ODD += ["9" * 400, "9" * 10_000, "!!float x", "!!int", "!!timestamp x", "!!bool x", "!!binary x", "!!null x"]
ODD += ["!!set {a, b}", "!!omap [a: 1]", "!!python/object/apply:os.system [exit]", "!local x", "[[[1]]]", "{a: 1}"]


def lists_of_lists(depth: int) -> str:
    """Lines that stand for 9 ** depth values."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth + 1)]
    return "\n".join(["a0: &a0 [x]", *lists_in_maps(3), *lines]) + "\n"


def lists_in_maps(depth: int) -> Iterator[str]:
    yield "m0: &m0 {x: 1}"
    for i in range(1, depth + 1):
        yield f"m{i}: &m{i} {{{', '.join(f'k{j}: *m{i - 1}' for j in range(9))}}}"


def numbers(count: int, over: float) -> str:
    return "[" + ", ".join(repr(i / over) for i in range(1, count + 1)) + "]"


Made = tuple[Callable[[], str | bytes], str]
# By name: how the file is made, and what its one message says.
REFUSED: dict[str, Made] = {
    "aliases that explode": (lambda: PLAIN + lists_of_lists(9), "over 120,000 values, with its aliases written out"),
    "an alias of itself": (lambda: PLAIN + "x: &x [*x]\n", "an alias stands for what it is a part of"),
    "a merge of itself": (lambda: PLAIN + "x: &x\n  <<: *x\n", "an alias stands for what it is a part of"),
    "ten megabytes": (lambda: PLAIN + "# " + "x" * 10_000_000, "over 1,000 kB"),
    "1e5 keys": (lambda: PLAIN + "".join(f"k{i}: 1\n" for i in range(90_000)), "over 120,000 values"),
    "20,000 words": (lambda: PLAIN.replace(ALMRS, "almr: [" + "x, " * 20_000 + "]"), "more wrong fields"),
    "1e5 ALMRs": (
        lambda: PLAIN.replace(ALMRS, f"almr: {numbers(100_000, 1e5)}"),
        "grid: 100,000 ALMRs x 2 LRs x 1 seed = 200,000 trials, more than max_trials, 5,000",
    ),
    "1e6 cells": (
        lambda: PLAIN.replace(ALMRS, f"almr: {numbers(1000, 1e3)}").replace(LRS, f"lr: {numbers(1000, 1e6)}"),
        "grid: 1,000 ALMRs x 1,000 LRs x 1 seed = 1,000,000 trials, more than max_trials, 5,000",
    ),
    "10,000 seeds": (
        lambda: PLAIN.rstrip() + f"\n  seeds: {list(range(10_000))}\n",
        "grid: 3 ALMRs x 2 LRs x 10,000 seeds = 60,000 trials",
    ),
    "a value 5,000 times": (lambda: PLAIN.replace(ALMRS, f"almr: {[0.5] * 5000}"), "lists a value twice: [0.5]"),
    "100,000 lists deep": (lambda: PLAIN + "x: " + "[" * 100_000 + "]" * 100_000, "nested over 50 levels"),
    "100,000 mappings deep": (lambda: PLAIN + "x: " + "{a: " * 100_000 + "}" * 100_000, "nested over 50 levels"),
    "900 levels of blocks": (lambda: PLAIN + "".join(" " * i + "a:\n" for i in range(900)), "nested over 50 levels"),
    "two documents": (lambda: f"{PLAIN}---\n{PLAIN}", "another document"),
    "tabs": (lambda: PLAIN.replace("  tokens", "\ttokens"), "tab"),
    "a zero byte": (lambda: PLAIN.replace("small", "sm\0all"), "not UTF-8 text (the bytes b'\\x00all')"),
    "UTF-16": (lambda: PLAIN.encode("utf-16"), "its text is UTF-16: save it as UTF-8"),
    "UTF-16 without a mark": (lambda: PLAIN.encode("utf-16-le"), "not UTF-8 text"),
    "Latin-1": (lambda: PLAIN.replace("small", "smäll").encode("latin-1"), "not UTF-8 text"),
    "all bytes": (lambda: bytes(range(256)), "not UTF-8 text"),
    "a list": (lambda: "[1, 2]", "a study is a mapping of fields"),
    "a number as text beyond its limit": (lambda: PLAIN.replace("- 0.5", "- 1e308"), "is '1e308': must be 0 to 1"),
    "a key of 400 digits": (lambda: PLAIN + "9" * 400 + ": 1\n", "a field's name has to be a word"),
    "a path that cannot be": (
        lambda: PLAIN.replace("embedded: tiny", "pretrained: " + "x" * 5000),
        "File name too long: correct it",
    ),
}
READ: dict[str, Callable[[], str | bytes]] = {
    "a byte order mark": lambda: b"\xef\xbb\xbf" + PLAIN.encode(),
    "1e6 cells that are meant": lambda: (
        PLAIN.replace(ALMRS, f"almr: {numbers(1000, 1e3)}").replace(LRS, f"lr: {numbers(1000, 1e6)}")
        + "  max_trials: 1e6\n"
    ),
    "an anchor": lambda: PLAIN.replace("- 0.5", "- &half 0.5") + "objective: {level: *half}\n",
}


def odd_values() -> Iterator[str]:
    """Each odd value in a field of each kind: read or refused, whichever is right."""
    for value in ODD:
        for place in ("2048", "- 0.5", "- 0.001", "small", "embedded: tiny"):
            yield PLAIN.replace(place, f"{place[: place.find(' ') + 1]}{value}", 1)
        yield f"{PLAIN}? {value}\n: 1\n"
    for name in NAMES.values():
        for field in ("files", "dataset"):
            yield PLAIN.replace("embedded: shakespeare", f"{field}: {name}")
        for field in ("language", "encoding", "field"):
            yield PLAIN.replace("embedded: shakespeare", f"embedded: shakespeare\n    {field}: {name}")
        yield PLAIN.replace("small", name)
        yield PLAIN.replace("embedded: tiny", f"pretrained: {name}")
        yield f"{PLAIN}replay: {{table: {name}}}\n"
        yield f"{PLAIN}trainer: {{name: command, command: {name}}}\n"
        yield f"{PLAIN}tracking: {{mlflow: {name}}}\n"
        yield f"{PLAIN}{name}: 1\n"
