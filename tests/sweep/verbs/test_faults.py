"""What a user sees when something goes wrong: one line that names the cause and the remedy, and an exit status."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import urllib.error
from email.message import Message
from pathlib import Path

import pytest
import yaml
from samples import study_content

from sweep import cli
from sweep.study import InputError
from sweep.study.errors import network_fault
from sweep.verbs.commands import terminal

ROOT = Path(__file__).parents[3]
ALMR = "import sys; from sweep.cli import main; main()"


class ReadTimeout(OSError):  # noqa: N818
    """As `requests` derives its own from OSError, without a number and a file."""


class LocalEntryNotFoundError(FileNotFoundError):
    """As huggingface_hub derives its own: from the error of a file."""


def answered(code: int) -> OSError:
    return urllib.error.HTTPError("https://hub", code, "no", Message(), None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"), "a.csv: No such file or directory; "),
        (
            PermissionError(errno.EACCES, "Permission denied", "/runs"),
            "/runs: Permission denied; check its permissions",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"/runs"), "/runs: Permission denied; check its "),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space"),
        (OSError(errno.ENOSPC, "No space left on device", "t.csv"), "t.csv: No space left on device; free some space"),
        (TimeoutError("timed out"), "no answer in time (timed out); check the network"),
        (OSError(errno.ETIME, "Ray did not start in time"), "Ray did not start in time; run the same command again"),
        (TimeoutError(), "no answer in time (TimeoutError); check the network"),
        (ReadTimeout("host:\n  read timed out"), "no answer in time (host: read timed out); check the network"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused); check the network"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe; run again with --debug"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known); check the network"),
        (urllib.error.URLError("no route to host"), "no route to host>); check the network"),
        (ssl.SSLError(1, "certificate verify failed"), "certificate verify failed); check the network"),
        (answered(503), "HTTP Error 503: no); check the network"),
        (answered(404), "HTTP Error 404: no"),
        (LocalEntryNotFoundError("offline"), "connection failed (offline); check the network"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), f"...{'x' * 200}: File name too long; check"),
        (OSError("model: no such repository"), "model: no such repository; run again with --debug"),
    ],
)
def test_an_error_of_the_system_says_what_it_is_and_what_to_do(error: OSError, expected: str) -> None:
    [line], status = terminal.explain(error)
    assert status == 2
    assert expected in line
    assert "a file" not in line


class TransportError(Exception):
    """As the HTTP library of huggingface_hub derives its own: not from OSError."""


class ConnectTimeout(TransportError):  # noqa: N818
    pass


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TransportError("refused"), "connection failed"),
        (ConnectTimeout("timed out"), "no answer in time"),
        (ConnectionResetError(), "connection failed"),
        (FileNotFoundError("a.csv"), None),
        (ValueError("not a model"), None),
        (answered(404), None),
    ],
)
def test_a_fault_of_the_network_is_known_whichever_library_raises_it(error: Exception, fault: str | None) -> None:
    assert network_fault(error) == fault


def test_input_errors_keep_their_lines_and_others_are_called_internal() -> None:
    assert terminal.explain(InputError("one\ntwo")) == (["one", "two"], 2)
    [line], status = terminal.explain(KeyError("nothing\nof that"))
    assert status == 70
    assert line.startswith("internal error: KeyError: ")
    assert "--debug" in line


def test_a_full_memory_is_no_bug_and_a_limit_of_the_shell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {"now": 2_048_000_000}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit["now"], resource.RLIM_INFINITY))
    [line], status = terminal.explain(MemoryError())
    assert (status, line[:24]) == (2, "ulimit -v is 2000000 kB,")
    limit["now"] = resource.RLIM_INFINITY
    [line], status = terminal.explain(MemoryError())
    assert (status, line[:19]) == (2, "the memory is full:")


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["almr", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.run_command()
    return raised.value.code


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(source: str) -> None:
        raise error

    monkeypatch.setattr("sweep.study.study_file.load", load)


@pytest.mark.parametrize(
    "arguments", [("plan", "demo"), ("run", "demo"), ("fit", "r"), ("report", "r"), ("export", "r")]
)
def test_ctrl_c_is_one_line_and_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweep.study.study_file.load", interrupt)
    monkeypatch.setattr("sweep.store.run.Run.find", interrupt)
    assert ended(monkeypatch, *arguments) == 130
    assert capsys.readouterr().err == "almr: interrupted; run the same command again\n"


def test_a_bug_is_one_line_and_its_traceback_is_shown_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch, ZeroDivisionError("division by zero"))
    monkeypatch.delenv("ALMR_DEBUG", raising=False)
    assert ended(monkeypatch, "plan", "demo") == 70
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("almr: internal error: ZeroDivisionError: division by zero; run again with --debug")
    for arguments in (["--debug", "plan", "demo"], ["plan", "demo", "--debug"]):
        assert ended(monkeypatch, *arguments) == 70
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("Traceback")
        assert lines[-1] == line
    monkeypatch.setenv("ALMR_DEBUG", "0")
    ended(monkeypatch, "plan", "demo")
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("ALMR_DEBUG", "1")
    ended(monkeypatch, "plan", "demo")
    assert "Traceback" in capsys.readouterr().err


def test_a_time_out_is_not_called_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken(monkeypatch, TimeoutError("timed out"))
    assert ended(monkeypatch, "plan", "demo") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("almr: no answer in time (timed out); ")


def almr(
    folder: Path, *arguments: str, before: str = "", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", f"{before}\n{ALMR}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


def test_a_deleted_working_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = almr(tmp_path / "gone", "plan", "demo", before="import os; os.rmdir(os.getcwd())")
    assert done.returncode == 2
    assert done.stderr == b"almr: the working directory was deleted: change to another one and try again\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_chinese_gets_other_characters_and_no_crash(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "中文.yaml"
    path.write_text(yaml.safe_dump(study_content()))
    table = tmp_path / "三国.csv"
    assert almr(tmp_path, "plan", str(path), encoding=encoding).returncode == 0
    done = almr(tmp_path, "fit", str(table), encoding=encoding)
    assert done.returncode == 2
    assert done.stderr.decode(encoding).endswith("/??.csv: no such file\n")
    path.write_text(yaml.safe_dump(study_content(corpora=corpora("中文"))))
    answer = almr(tmp_path, "plan", str(path), "--check", "--json", encoding=encoding)
    assert "中文" in str(json.loads(answer.stdout.decode(encoding)))


def corpora(folder: str) -> dict[str, dict[str, str]]:
    return {"original": {"files": f"{folder}/*.txt"}, "additional": {"files": f"{folder}/*.txt"}}
