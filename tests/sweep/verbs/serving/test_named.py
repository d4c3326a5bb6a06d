"""Which model is meant: a directory, a trial, a run, the launch of a run; and what the command refuses at once."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import chat_model
import pytest
from typer.testing import CliRunner

from analysis.launch.serving.plan import ServedModel, ServingGpus, make
from sweep import cli
from sweep.study import InputError
from sweep.study.sizes.known import GPUS, KNOWN
from sweep.verbs.commands import terminal
from sweep.verbs.serving import here, vllm
from sweep.verbs.serving.described import remarks
from sweep.verbs.serving.named import find

WITH_SERVE = pytest.mark.skipif(not all(map(here._is_there, (*here.NEEDED, here.HANDLERS))), reason="the extra serve")
CONFIG = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIG |= {"vocab_size": 300, "model_type": "llama", "max_position_embeddings": 512}
SERVER = """#!{python}
import http.server, json, os, sys, threading
def answered(self):
    self.send_response(200); self.end_headers()
    threading.Thread(target=server.shutdown).start()
handler = type("Health", (http.server.BaseHTTPRequestHandler,), dict(do_GET=answered))
port = int(next(word for word in sys.argv if word.startswith("--port=")).split("=")[1])
keys = dict(vllm=os.environ.get("VLLM_API_KEY"), almr=os.environ.get("ALMR_API_KEY"))
import guard
json.dump([sys.argv[1:], keys, guard.KeyGuard(None).key.decode()], open({out!r}, "w"))
server = http.server.HTTPServer(("127.0.0.1", port), handler)
server.serve_forever()
print("INFO loading"); print("EngineDeadError: no memory")
sys.exit(1)
"""


def model(folder: Path, **more: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | more))
    return folder


def trial(run: Path, name: str, objective: float | None = None) -> Path:
    place = run / "trials" / name
    place.mkdir(parents=True)
    (place / "trial.json").write_text("{}")
    if objective is not None:
        model(place / "model")
        (place / "kept.json").write_text(json.dumps({"objective": objective}))
    return place


def test_a_pipe_in_a_models_folder_is_not_waited_for(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    (folder / "generation_config.json").symlink_to("nowhere")
    find(str(folder), "runs")
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer\.json: is a pipe or a device, not a file; save the model again"):
        find(str(folder), "runs")


def said(*words: str) -> tuple[list[str], int]:
    error = CliRunner().invoke(cli.app, ["serve", *words]).exception
    assert isinstance(error, Exception), words
    explained = terminal.explain(error)
    return explained.lines, explained.status


def test_a_directory_a_trial_a_run_and_its_launch(tmp_path: Path) -> None:
    assert find(str(model(tmp_path / "plain")), "runs").name == "plain"
    run = tmp_path / "runs" / "chat"
    (run / "trials").mkdir(parents=True)
    (run / "study.yaml").write_text("name: chat\n")
    with pytest.raises(InputError, match="neither a trial nor a launch of this run saved a model"):
        find("chat", str(run.parent))
    launch = run / "checkpoints-chat-native-1"
    (launch / "trials").mkdir(parents=True)
    left = trial(launch, "only", 1.0)
    assert find("chat", str(run.parent)).folder == left / "model"
    worse, best, none = trial(run, "a", 3.0), trial(run, "b", 2.0), trial(run, "c")
    found = find("chat", str(run.parent))
    assert (found.folder, found.name) == (best / "model", "chat")
    assert find(str(worse), "runs").name == "chat-a"
    assert find(str(best / "model"), "runs") == find(str(best), "runs")
    with pytest.raises(InputError, match="this trial saved no model: write keep: best"):
        find(str(none), "runs")
    assert find("org/model", "runs").folder is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["no such model"], "'no such model': no such folder, run or trial, and no id of the hub (owner/name)"),
        (["s3://a/b"], "copy its files to this machine"),
        (["org/model", "--url", "http://x"], "--url: only a check asks a server that runs: add --check"),
        (["org/model", "--gpu", "H100-80GB"], "add --out FOLDER"),
        (["meta-llama/Llama-3.1-8B", "--out", "x"], "--gpu: required with --out: write one of A100-40GB"),
        (["meta-llama/Llama-3.1-8B", "--out", "x", "--gpu", "H100"], "'H100' is not a known GPU"),
        (["meta-llama/Llama-3.1-70B", "--out", "x", "--gpu", "L40S-48GB"], "does not fit 1 x L40S-48GB"),
        (["org/model", "--out", "x", "--gpu", "H100-80GB"], "the hub did not answer"),
        (["tiny", "--out", "x", "--gpu", "H100-80GB"], "vLLM finds it in no folder"),
    ],
)
def test_what_is_refused_is_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines, status = said(*words)
    assert (len(lines), status) == (1, 2)
    assert line in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "", "NaN", "[]", "\0\0"])
def test_a_damaged_configuration_is_one_line(content: str, tmp_path: Path) -> None:
    place = model(tmp_path / "plain")
    (place / "config.json").write_text(content)
    lines, status = said(str(place), "--gpu", "H100-80GB", "--out", str(tmp_path / "out"))
    assert (len(lines), status) == (1, 2)
    assert "config.json: not a" in lines[0]


@WITH_SERVE
@pytest.mark.parametrize("template", ["{% if", "{{ a.b.c }}", "{{ messages[9].role }}", "{{ 1 / 0 }}"])
def test_a_chat_template_that_fails_is_one_line(template: str, tmp_path: Path) -> None:
    place = chat_model.write(tmp_path / "plain", steps=0)
    (place / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match=r"^plain: its chat template cannot be used \(.*\): correct or remove it$"):
        here.load(find(str(place), "runs"), None, lambda phase, share: None)


@WITH_SERVE
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = str(model(tmp_path / "plain"))
    there = here._is_there
    for lost, line in (
        ("uvicorn", "almr serve needs uvicorn: pip install"),
        (here.HANDLERS, "needs transformers 5.23"),
    ):
        monkeypatch.setattr(here, "_is_there", lambda name, lost=lost: name != lost and there(name))
        for words in ([place], [place, "--check"]):
            assert line in said(*words)[0][0]
    assert not there("transformers.no.such")
    assert not there("no.such.module")


def test_other_architectures_and_lengths_are_refused(tmp_path: Path) -> None:
    mixture = model(tmp_path / "mixture", num_experts=8)
    lines, _ = said(str(mixture), "--out", str(tmp_path / "x"), "--gpu", "H100-80GB")
    assert "memory is planned for models of the Llama kind, and this is none (it is a mixture of experts)" in lines[0]
    plain = model(tmp_path / "plain")
    lines, _ = said(str(plain), "--out", str(tmp_path / "x"), "--gpu", "H100-80GB", "--max-model-len", "1024")
    assert "was made for 512 tokens: give at most 512" in lines[0]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    lines, _ = said(str(tmp_path / "broken"), "--out", "x", "--gpu", "H100-80GB")
    assert "config.json: not a model's configuration" in lines[0]


def test_what_is_written_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, out = model(tmp_path / "plain"), tmp_path / "out"
    words = ["serve", str(plain), "--out", str(out), "--gpu", "L40S-48GB", "--json"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["max_model_len"], found["max_num_seqs"]) == (512, 256)
    assert "served for completions" in done.stderr
    assert "served for completions" in (out / "README.md").read_text()
    assert f"readonly model={plain}" in (out / "start.sh").read_text()
    assert "claimName: CHANGE-ME" in (out / "kubernetes.yaml").read_text()


def test_an_end_of_turn_that_vllm_would_miss_is_told(tmp_path: Path) -> None:
    plain, words = model(tmp_path / "plain"), chat_model.tokenizer()
    words.save_pretrained(plain)
    assert remarks(find(str(plain), "runs")) == []
    words.eos_token = None
    words.save_pretrained(plain)
    [line] = remarks(find(str(plain), "runs"))
    assert f"ends a turn with {chat_model.END}, which generation_config.json does not state" in line
    (plain / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [1, words.convert_tokens_to_ids("<|im_end|>")]})
    )
    assert remarks(find(str(plain), "runs")) == []


def test_vllm_is_started_with_the_same_words_and_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, out, told = tmp_path / "vllm", tmp_path / "seen.json", []
    program.write_text(SERVER.format(python=sys.executable, out=str(out)))
    program.chmod(0o755)
    monkeypatch.setenv("ALMR_API_KEY", "a secret key")
    place = here.listen("127.0.0.1", 0)
    port = place.getsockname()[1]
    place.close()
    name = "meta-llama/Llama-3.1-8B"
    plan = make(ServedModel(name, name, KNOWN[name].shape), ServingGpus("H100", GPUS["H100-80GB"].bytes, 2))
    with pytest.raises(InputError, match=r"^EngineDeadError: no memory$"):
        vllm.serve(plan, str(program), "127.0.0.1", port, True, told.append, lambda line: None)
    assert f"serving {name} at http://127.0.0.1:{port}/v1" in told[0]
    words, keys, of_guard = json.loads(out.read_text())
    assert words[:3] == ["serve", name, f"--served-model-name={name}"]
    assert "--tensor-parallel-size=2" in words
    assert (keys, of_guard) == ({"vllm": "a secret key", "almr": None}, "a secret key")
    assert not any("secret" in word for word in words)
    assert threading.active_count() < 10
