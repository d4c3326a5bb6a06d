"""`almr serve` as a process: started, checked by the openai client, interrupted; and a model that is broken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chat_model
import pytest

pytest.importorskip("openai")
pytest.importorskip("uvicorn")
pytest.importorskip("transformers.cli.serving.chat_completion")
pytestmark = pytest.mark.heavy
ALMR = [sys.executable, "-m", "sweep.cli", "serve"]
KEY = "the-key-of-this-test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model.write(tmp_path_factory.mktemp("served") / "chat")


def test_a_chat_model_passes_the_check(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "transcript.md"
    done = subprocess.run([*ALMR, str(folder), "--check", "--json", "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["passed"]
    assert {one["passed"] for one in found["checks"]} == {True}
    assert [one["clients"] for one in found["figures"]] == [1, 20]
    assert all(one["first_median"] < one["whole_p90"] and one["tokens_per_second"] > 0 for one in found["figures"])
    for question, answer in chat_model.ANSWERS.items():
        assert question in out.read_text()
        assert answer in out.read_text()


def test_a_model_that_does_not_end_fails_the_check(tmp_path: Path) -> None:
    folder = chat_model.write(tmp_path / "endless", steps=0)
    out = tmp_path / "transcript.md"
    done = subprocess.run([*ALMR, str(folder), "--check", "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[-1].startswith("check of endless: FAILED: end of the answer, English")


def test_it_is_asked_by_the_client_and_ends_with_an_interrupt(folder: Path) -> None:
    from openai import AuthenticationError, OpenAI

    process = subprocess.Popen(
        [*ALMR, str(folder), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ALMR_API_KEY": KEY},
    )
    assert process.stderr
    first = process.stderr.readline()
    url = first.split(" at ")[1].strip()
    assert "curl" in process.stderr.readline()
    client = OpenAI(base_url=url, api_key=KEY, max_retries=0)
    for question, answer in chat_model.ANSWERS.items():
        made = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": question}])
        assert (made.choices[0].message.content, made.choices[0].finish_reason) == (answer, "stop")
    with pytest.raises(AuthenticationError):
        client.with_options(api_key="another").models.list()
    again = subprocess.run([*ALMR, str(folder), "--port", url.split(":")[2][:-3]], capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1), again.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()


def test_an_interrupted_check_leaves_no_server(folder: Path, tmp_path: Path) -> None:
    process = subprocess.Popen([*ALMR, str(folder), "--check"], cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ)
    deadline = time.monotonic() + 120
    while not (servers := _servers(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert servers
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not _servers(folder)


def _servers(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and b"--port" in words:
            found.append(path.parent.name)
    return found


def test_a_broken_model_is_one_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in folder.iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    done = subprocess.run([*ALMR, str(broken), "--port", "0"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("almr: broken: ")
    assert "base_model" not in line
