"""The two processes of a verdict on a program that a model wrote: `program` defines what the model wrote, `judge` runs
the test. The judge asks the program for the values of calls, so no verdict comes from a process that the program is in.

Its text runs under a bare interpreter in a sandbox: the standard library only. Each process has a line of JSON per
message on its standard input and output.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import resource
import sys
import types
from collections.abc import Callable
from typing import Any

Send = Callable[[Any], Any]  # of one argument
ASKED = ("__getitem__", "__iter__", "__next__", "__len__", "__bool__", "__str__", "__int__", "__float__")
WORDS: dict[str, Send] = {"__bool__": bool, "__len__": len, "__str__": str, "__iter__": iter, "__next__": next}
MADE_OF: dict[tuple[str, str], Send] = {  # further types of the standard library, by what makes them anew
    ("collections", "deque"): lambda value: [list(value), value.maxlen],
    ("decimal", "Decimal"): lambda value: [str(value)],
    ("fractions", "Fraction"): lambda value: [value.numerator, value.denominator],
    ("datetime", "date"): lambda value: [value.year, value.month, value.day],
    ("array", "array"): lambda value: [value.typecode, list(value)],
}
LISTS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
EXACT = 2**53


def encode(value: Any, refer: Send) -> Any:
    """A value as JSON. Of subclasses, the value of the class; anything else is referred to by number."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__int__(value)
        return number if abs(number) < EXACT else {"kind": "int", "value": hex(number)}
    if isinstance(value, float):
        return {"kind": "float", "value": float.hex(value)}
    if isinstance(value, complex):
        return {"kind": "complex", "value": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {"kind": type(value).__name__, "value": value.hex()}
    if isinstance(value, range):
        return {"kind": "range", "value": [value.start, value.stop, value.step]}
    if isinstance(value, dict):
        return {"kind": "dict", "value": [[encode(k, refer), encode(v, refer)] for k, v in value.items()]}
    if isinstance(value, type) and value in vars(builtins).values():
        return {"kind": "type", "value": value.__name__}
    for kind, made in LISTS.items():
        if isinstance(value, made):
            return {"kind": kind, "value": [encode(one, refer) for one in value]}
    name = (type(value).__module__, type(value).__name__)
    if name in MADE_OF:
        return {"kind": "made", "value": [*name, encode(MADE_OF[name](value), refer)]}
    return {"kind": "reference", "value": refer(value)}


def decode(content: Any, referred: Send) -> Any:
    if not isinstance(content, dict):
        return content
    kind, value = content["kind"], content["value"]
    if kind in LISTS:
        return LISTS[kind](decode(one, referred) for one in value)
    if kind == "dict":
        return {decode(key, referred): decode(one, referred) for key, one in value}
    if kind == "made":
        module, name, parts = value
        assert (module, name) in MADE_OF
        return getattr(importlib.import_module(module), name)(*decode(parts, referred))
    if kind in ("bytes", "bytearray"):
        return getattr(builtins, kind).fromhex(value)
    simple: dict[str, Send] = {
        "int": lambda text: int(text, 16),
        "float": float.fromhex,
        "complex": lambda parts: complex(*map(float.fromhex, parts)),
        "range": lambda parts: range(*parts),
        "type": _type,
        "reference": referred,
    }
    return simple[kind](value)


def _type(name: str) -> type:
    found = vars(builtins)[name]
    assert isinstance(found, type)
    return found


class Served:
    """The program's side: its names and objects, for the judge to ask."""

    def __init__(self, text: str) -> None:
        self.module = types.ModuleType("program")
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        sys.modules["program"] = self.module
        exec(compile(text, "<program>", "exec"), vars(self.module))  # noqa: S102  # the purpose of this process

    def refer(self, value: Any) -> int:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self.numbers[id(value)]

    def answer(self, asked: dict[str, Any]) -> Any:
        if "names" in asked:
            return {name: self._named(name) for name in asked["names"] if name in vars(self.module)}
        target = self.objects[asked["of"]]
        arguments, options = (decode(asked[part], self.objects.__getitem__) for part in ("arguments", "options"))
        what = asked["what"]
        if what == "call":
            return encode(target(*arguments, **options), self.refer)
        if what == "attribute":
            return encode(getattr(target, *arguments), self.refer)
        method = WORDS.get(what) or getattr(type(target), what)
        return encode(method(target, *arguments), self.refer)

    def _named(self, name: str) -> Any:
        value = vars(self.module)[name]
        if isinstance(value, types.ModuleType) and value.__name__ in sys.stdlib_module_names:
            return {"kind": "module", "value": value.__name__}
        return encode(value, self.refer)


def serve(receive: Callable[[], Any], send: Send) -> None:
    served = Served(receive()["program"])
    send({"value": None})
    while (asked := receive()) is not None:
        try:
            send({"value": served.answer(asked)})
        except Exception as error:
            send({"error": [type(error).__name__, str(error)[:1000]]})


class Remote:
    """An object of the program. The judge never runs its code: what it does is asked for, and equality is identity."""

    def __init__(self, number: int, ask: Callable[..., Any]) -> None:
        vars(self).update(_number=number, _ask=ask)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._ask("call", self._number, arguments, options)

    def __getattr__(self, name: str) -> Any:
        return self._ask("attribute", self._number, [name], {})


def _asked(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self._ask(name, self._number, arguments, {})


for _name in ASKED:
    setattr(Remote, _name, _asked(_name))


class Asking:
    """The judge's side."""

    def __init__(self, receive: Callable[[], Any], send: Send) -> None:
        self.receive, self.send = receive, send
        self.remotes: dict[int, Remote] = {}

    def referred(self, number: int) -> Remote:
        return self.remotes.setdefault(int(number), Remote(int(number), self.ask))

    def ask(self, what: str, of: int, arguments: Any, options: Any) -> Any:
        sent = {"arguments": encode(list(arguments), _own), "options": encode(options, _own)}
        return decode(self.reply({"what": what, "of": of} | sent), self.referred)

    def reply(self, asked: Any) -> Any:
        self.send(asked)
        answer = self.receive()
        if "error" in answer:
            kind, text = answer["error"]
            known = getattr(builtins, str(kind), None)
            raise (known if isinstance(known, type) and issubclass(known, Exception) else RuntimeError)(text)
        return answer["value"]

    def names(self, test: str) -> dict[str, Any]:
        """What the test uses of the program. A builtin or a module that the program has a name for is its own only
        where the test uses nothing else of it: otherwise it could replace what compares its answers.
        """
        used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
        found = self.reply({"names": sorted(name for name in used if not name.startswith("__"))})
        values = {name: self._value(content) for name, content in found.items() if name in used}
        kept = {name for name in values if not hasattr(builtins, name) and name not in sys.stdlib_module_names}
        modules = {name: importlib.import_module(name) for name in values if name in sys.stdlib_module_names}
        return {name: values[name] for name in kept} | modules if kept else values

    def _value(self, content: Any) -> Any:
        is_module = isinstance(content, dict) and content["kind"] == "module"
        if is_module and content["value"] in sys.stdlib_module_names:
            return importlib.import_module(content["value"])
        return decode(content, self.referred)


def _own(value: Any) -> int:
    if isinstance(value, Remote):
        return int(vars(value)["_number"])
    raise TypeError(f"a test gives a program plain values, not a {type(value).__name__}")


def judge(receive: Callable[[], Any], send: Send) -> None:
    test = receive()["test"]
    asking = Asking(receive, send)
    namespace = asking.names(test) | {"__name__": "test", "__builtins__": builtins}
    exec(compile(test, "<test>", "exec"), namespace)  # noqa: S102  # the purpose of this process
    send({"verdict": True})


def limit(limits: dict[str, int], user: int | None) -> None:
    """Limit this process and its children for good. `user`: whom to become, of a process of root."""
    for name, value in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def main(role: str, limits: dict[str, int], user: int | None) -> None:
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    limit(limits, user)

    def receive() -> Any:
        line = source.readline()
        return json.loads(line) if line else None

    def send(message: Any) -> None:
        target.write(json.dumps(message).encode() + b"\n")
        target.flush()

    {"program": serve, "judge": judge}[role](receive, send)
