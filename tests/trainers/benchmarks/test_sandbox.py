"""Programs that attack what scores them, and the ways to a verdict that honest programs need."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from hostile_programs import ATTEMPT, ATTEMPTS, FORGED, LEAVES, RIGHT, TEST, TOO_MUCH, WRONG

from trainers.benchmarks.sandbox import engines, system_calls, verdict
from trainers.benchmarks.sandbox.engines import Sandbox

FOUND = engines.find("auto")
KILLERS = ("kills its parent",)
sandboxed = pytest.mark.skipif(isinstance(FOUND, str), reason=f"no sandbox works on this machine: {FOUND}")


@pytest.fixture(scope="module")
def limits_alone() -> Sandbox:
    found = engines.find("none")
    assert isinstance(found, Sandbox)
    return found


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    assert isinstance(FOUND, Sandbox)
    monkeypatch.setattr(verdict, "SECONDS", 4.0)
    monkeypatch.setattr(verdict, "LIMITS", verdict.LIMITS | {"RLIMIT_CPU": 2})
    return FOUND


def all_refused(attempts: list[tuple[str, str]], sandbox: Sandbox) -> bool:
    """Whether no attempt came to anything: each answers "refused" then, and a program that ends answers nothing."""
    test = f"for how, what in {attempts!r}:\n    assert answer(how, what) == 'refused'"
    return verdict.passes(f"ATTEMPTS = {ATTEMPTS!r}\n{ATTEMPT}", test, sandbox)


@pytest.mark.parametrize("name", sorted(FORGED.keys() - KILLERS))
def test_a_pass_cannot_be_forged(name: str, limits_alone: Sandbox) -> None:
    assert not verdict.passes(FORGED[name], TEST, limits_alone)


@sandboxed
def test_a_program_that_kills_all_it_can_kills_only_itself(sandbox: Sandbox) -> None:
    for name in KILLERS:
        assert not verdict.passes(FORGED[name], TEST, sandbox)


@sandboxed
@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_program_that_takes_too_much_ends(name: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith(("time", "processes", "memory of")):
        monkeypatch.setattr(verdict, "SECONDS", 0.8)
    assert not verdict.passes(TOO_MUCH[name], TEST, sandbox)


@sandboxed
def test_nothing_of_the_users_is_reached(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempts = {
            "reads": str(secret),
            "writes": str(secret),
            "deletes": str(tmp_path),
            "reads by a link": str(secret),
            "connects": str(server.getsockname()[1]),
            "environment": "planted",
            "other processes": "pytest",
            "becomes root": "",
            "mounts": "",
            **({"user namespace": "", "traces": ""} if system_calls.refusing() else {}),
        }
        refused = all_refused([*attempts.items()], sandbox)
        assert refused, [how for how, what in attempts.items() if not all_refused([(how, what)], sandbox)]
    assert secret.read_text() == "of the user"


@sandboxed
def test_the_home_folder_is_empty_but_for_the_bare_python(sandbox: Sandbox) -> None:
    home, base = Path.home(), Path(sys.base_prefix)
    there = [base.relative_to(home).parts[0]] if base.is_relative_to(home) else []
    program = "import os\ndef answer(path):\n    return os.listdir(path) if os.path.isdir(path) else []"
    assert verdict.passes(program, f"assert answer({str(home)!r}) == {there!r}", sandbox)


@sandboxed
def test_only_the_scratch_folders_take_files(sandbox: Sandbox) -> None:
    paths = [f"{folder}/almr-planted" for folder in ("", "/usr", "/usr/lib", "/dev", "/etc", "/proc/sys/kernel")]
    assert all_refused([("writes", path) for path in paths], sandbox)
    assert not [path for path in paths if Path(path).exists()]
    assert not all_refused([("writes", "/tmp/almr-planted")], sandbox)


@sandboxed
def test_no_child_is_left(sandbox: Sandbox) -> None:
    mark = f"almr-left-{os.getpid()}"
    assert verdict.passes(LEAVES.replace("{mark}", mark) + RIGHT, TEST, sandbox)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in lines if line.startswith(mark.encode())]


@sandboxed
def test_memory_of_all_processes_together_is_limited(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        kept = bytearray(b'x') * 2**25\n"
        f"        time.sleep(60)\ntime.sleep(0.8)\n{RIGHT}"
    )
    assert verdict.passes(program, TEST, sandbox)
    monkeypatch.setattr(verdict, "MEMORY_BYTES", 2**26)
    assert not verdict.passes(program, TEST, sandbox)


HONEST = {
    "an ordinary function": (RIGHT, TEST),
    "3 MB": (f"{RIGHT}text = '''{'x' * 3_000_000}'''", TEST),
    "what was printed, and a failing exit": (
        f"{RIGHT}import atexit, os\natexit.register(os._exit, 1)\nprint('x')",
        TEST,
    ),
    "a check of its function": (RIGHT, "def check(candidate):\n    assert candidate(2) == 4\ncheck(answer)"),
    "kinds of values": (
        "def same(x):\n    return x",
        "from decimal import Decimal\nfrom collections import deque\nimport math\n"
        "for x in [None, True, 3, -2**90, 1.5, 'é\\ud800', b'a', (1, [2]), {1: {2}}, frozenset({3})]:\n"
        "    assert same(x) == x and type(same(x)) is type(x), x\n"
        "for x in [2j, range(3), int, Decimal('1.5'), deque([1])]:\n"
        "    assert same(x) == x and type(same(x)) is type(x), x\nassert math.isnan(same(math.nan))",
    ),
    "a class of its own": (
        "class Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
        "def total(pairs):\n    return sum(one.a + one.b for one in pairs)",
        "assert total([Pair(1, 2), Pair(3, 4)]) == 10\nassert Pair(5, 6).b == 6",
    ),
    "a generator": ("def some(n):\n    yield from range(n)", "assert list(some(3)) == [0, 1, 2]\nassert some(1)"),
    "the name of a builtin": ("def sum(a, b):\n    return a + b", "assert sum(10, 15) == 25"),
    "a module of its own import": ("import math\ndef half(x):\n    return x / 2", "assert math.isclose(half(1), 0.5)"),
    "an error": (
        "def fail(x):\n    raise ValueError('no')",
        "try:\n    fail(1)\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    assert False",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_gets_the_verdict_that_it_gets_in_one_process(name: str, limits_alone: Sandbox) -> None:
    assert verdict.passes(*HONEST[name], limits_alone)


@sandboxed
def test_the_sandbox_gives_the_same_verdicts(sandbox: Sandbox) -> None:
    assert verdict.passes(*HONEST["3 MB"], sandbox)
    assert verdict.passes(*HONEST["a class of its own"], sandbox)
    assert not verdict.passes(WRONG, TEST, sandbox)
    assert not verdict.passes("import numpy\n" + RIGHT, TEST, sandbox)  # the packages of this environment


def test_a_machine_without_a_sandbox_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engines.find("auto") == "bubblewrap: not installed"
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    why = engines.refused("auto")
    assert why is not None
    assert "bubblewrap: does not work here (bwrap: No permissions to create new namespace)" in why
    assert engines.refused("none") is None
