"""Signals end the main thread's work once, and not in the midst of an import."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pydantic
import pytest
from pydantic import Discriminator, Tag

from sweep.store import interruption


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*interruption.ENDING, interruption.OURS)}
    interruption.handle_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_the_first_signal_tidies_up_is_not_broken_off_by_more() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)


def test_a_signal_waits_until_the_import_machinery_is_left() -> None:
    """It lost one in a callback of an import, kept the lock, and the next import waited for ever."""
    code = compile("signal.raise_signal(signal.SIGINT); left = True", "<frozen importlib._bootstrap>", "exec")
    names = {"signal": signal, "left": False}
    exec(code, names)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(20)
    assert names["left"]


def test_an_interrupt_that_no_verb_tells_of_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; from sweep import cli\n"
        "def interrupted(*arguments, **named): raise KeyboardInterrupt\n"
        "cli.typer.core.TyperGroup.invoke = interrupted; sys.argv = ['almr', 'fit', 'run']; cli.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.encode()) == (interruption.INTERRUPTED, interruption.SAID)


@pytest.mark.skipif(pydantic.VERSION.startswith("2.8."), reason="it calls no function of ours to write a union")
def test_a_signal_while_a_model_is_written_waits_for_the_whole_model() -> None:
    """Pydantic took it for a value of no kind of its union, warned, and the command went on."""

    def kind(value: object) -> str:
        signal.raise_signal(signal.SIGINT)
        return type(value).__name__

    class Written(pydantic.BaseModel):
        value: Annotated[Annotated[int, Tag("int")] | Annotated[str, Tag("str")], Discriminator(kind)]

    assert Written.model_construct(value=1).model_dump() == {"value": 1}
    with pytest.raises(KeyboardInterrupt):
        time.sleep(20)


def test_a_signal_in_a_module_that_is_imported_waits_for_the_whole_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a class is made, it became a RuntimeError."""
    (tmp_path / "interrupted_module.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nleft = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("interrupted_module").left
    with pytest.raises(KeyboardInterrupt):
        time.sleep(20)


def test_a_signal_while_a_thread_shuts_a_library_down_waits_for_it_and_does_not_kill() -> None:
    def shut_down() -> None:
        ctypes.CDLL(None).signal(int(signal.SIGTERM), None)  # the default, as Ray's native code sets it
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        done.append("whole")

    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interruption.with_kept_handlers(shut_down)
    assert done == ["whole"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_still_imports_ends_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sweep", "plan", "demo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not catches(process.pid, signal.SIGTERM):
        time.sleep(0.001)
    process.send_signal(number)
    assert process.communicate()[1] == "almr: interrupted; run the same command again\n"
    assert process.returncode == 130


def catches(process: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def test_a_handler_that_a_library_replaces_is_put_back() -> None:
    with interruption.kept_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
