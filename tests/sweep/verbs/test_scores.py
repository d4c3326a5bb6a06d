"""`almr scores` through the command: real models on the embedded suite, and a stand-in that knows the answers."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import program_problems
import pytest
from base_models import changed
from click.testing import Result
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import InputError, Score, Study, study_file
from sweep.verbs.inspection import doctor
from sweep.verbs.scores import named
from trainers import prepare
from trainers.benchmarks import harness
from trainers.benchmarks.sandbox import engines

CODE = ("humaneval", "mbpp", "eq_bench")


def scores(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["scores", *words])


def told(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exception
    return " ".join(cli.terminal.explain(result.exception).lines)  # type: ignore[arg-type]


def record(folder: Path, label: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / label / "record.json").read_text())
    return found


@pytest.fixture
def study(local_study: Study, tmp_path: Path) -> str:
    local = local_study.model_copy(update={"name": "local"})
    (tmp_path / "study.yaml").write_text(study_file.dump(local))
    return str(tmp_path / "study.yaml")


def broken(model: Path, folder: Path) -> Path:
    """A copy whose answers are NaN."""
    return changed(model, folder, _fill)


def _fill(model: Any, tokenizer: Any) -> None:
    model.lm_head.weight.data.fill_(math.nan)


def _scale(model: Any, tokenizer: Any) -> None:
    model.lm_head.weight.data.mul_(1.01)


@pytest.mark.slow
def test_models_are_scored_once_compared_and_a_broken_one_is_a_line(
    study: str, small_model: Path, tmp_path: Path
) -> None:
    twin = shutil.copytree(small_model, tmp_path / "twin")
    worse = broken(small_model, tmp_path / "nan")
    words = [f"base={small_model}", str(twin), f"nan={worse}", "gone=/nowhere", "--suite", "embedded", "--study", study]
    out = tmp_path / "out"
    first = scores(*words, "--out", str(out), "--json")
    assert first.exit_code == 1, first.output  # two models have no score
    table = json.loads(first.stdout)
    assert table["unscored"] == ["nan", "gone"]
    assert table["failures"]["nan"] == dict.fromkeys(("cloze_original", "cloze_additional"), "the model answers NaN")
    assert "'/nowhere': no such folder" in table["failures"]["gone"]["cloze_original"]
    assert [row["group"] for row in table["rows"]] == ["additional", "original"]
    both = table["rows"][0]
    assert set(both["scores"]) == {"base", "twin"}
    twin_gain = both["gains"][0]
    assert (twin_gain["change"]["value"], twin_gain["verdict"], twin_gain["lost"]) == (0.0, "not distinguishable", 0)
    assert record(out, "base")["identity"]["sha256"] == record(out, "twin")["identity"]["sha256"]
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/record.json")}
    page = (out / "gains.html").read_bytes()
    again = scores(*words[:2], *words[4:], "--out", str(out))
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/record.json")} == before
    assert (out / "gains.html").read_bytes() != page  # of two models
    assert "twin against base" in again.stdout


@pytest.mark.slow
def test_only_what_changed_is_asked_again(study: str, small_model: Path, tmp_path: Path) -> None:
    model, out = shutil.copytree(small_model, tmp_path / "one"), tmp_path / "out"
    words = [str(model), "--suite", "embedded", "--study", study, "--out", str(out)]
    assert scores(*words).exit_code == 0
    first = record(out, "one")
    (out / "one" / "questions.json").write_text("{}")
    assert scores(*words).exit_code == 0
    assert set(json.loads((out / "one" / "questions.json").read_text())) == set(first["tasks"])
    (model / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    assert scores(*words).exit_code == 0
    other = record(out, "one")
    assert other["identity"]["sha256"] != first["identity"]["sha256"]
    assert other["tasks"]["cloze_original"]["key"] == first["tasks"]["cloze_original"]["key"]
    assert other["tasks"]["cloze_original"]["score"] == first["tasks"]["cloze_original"]["score"]
    (out / "one" / "record.json").write_text("{")
    refused = scores(*words)
    assert "one/record.json: not a record of a model's scores" in told(refused)
    assert (out / "one" / "record.json").read_text() == "{"


class StandIn:
    """Knows every answer of the local copies, or none: what a language model of the harness is asked, without one."""

    def __init__(self, right: bool) -> None:
        self.rank, self.world_size, self.answers = 0, 1, program_problems.answers(right)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.asked += [request.args for request in requests]
        return [self._said(request.args[0]) for request in requests]

    def _said(self, prompt: str) -> str:
        own = prompt.rpartition("[DONE]")[2]  # after the solved examples
        return next(answer for part, answer in self.answers.items() if part in own)


@pytest.mark.heavy
@pytest.mark.skipif(bool(engines.refused("auto")), reason="no sandbox works here")
def test_programs_and_feelings_are_judged_end_to_end(
    small_model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, made = program_problems.write(tmp_path / "data"), tmp_path / "out", []
    knowing = changed(small_model, tmp_path / "knowing", _scale)

    def stand_in(model: Any, tokenizer: Any, *settings: Any) -> StandIn:
        made.append(StandIn(right="knowing" in str(tokenizer.name_or_path)))
        return made[-1]

    monkeypatch.setattr(harness, "_language_model", stand_in)
    asked = ["--tasks", ",".join(CODE), "--data", str(data), "--unsafe-code", "--max-tokens", "64", "--out", str(out)]
    result = scores(f"none={small_model}", str(knowing), *asked, "--json")
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)["rows"]}
    value = {name: [rows[name]["scores"][label]["value"] for label in ("none", "knowing")] for name in CODE}
    assert value == {"humaneval": [0.0, 1.0], "mbpp": [0.0, 1.0], "eq_bench": [0.0, 100.0]}
    assert rows["code"]["tasks"] == ["humaneval", "mbpp"]
    assert rows["eq_bench"]["group"] == "emotional intelligence"
    gain = rows["eq_bench"]["gains"][0]
    assert (gain["won"], gain["lost"]) == (3, 0)
    kept = record(out, "knowing")["tasks"]
    assert kept["humaneval"]["provenance"]["sandbox"].startswith("bubblewrap")
    assert "sandbox" not in kept["eq_bench"]["provenance"]
    said = [arguments for one in made for arguments in one.asked]
    assert {settings["max_gen_toks"] for _, settings in said} == {64}
    assert not any(settings["do_sample"] for _, settings in said)


@pytest.mark.heavy
def test_a_model_without_a_chat_template_has_no_score_with_chat(
    small_model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = program_problems.write(tmp_path / "data"), tmp_path / "out"
    chats = shutil.copytree(small_model, tmp_path / "chats")
    (chats / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
    )
    asked = ["--tasks", "eq_bench", "--data", str(data), "--limit", "2", "--max-tokens", "4", "--out", str(out)]
    result = scores(f"base={small_model}", str(chats), *asked, "--chat", "--json")
    assert result.exit_code == 1
    table = json.loads(result.stdout)
    assert table["failures"]["base"]["eq_bench"].startswith("its tokenizer has no chat template")
    plain = json.loads(scores(f"base={small_model}", f"plain={chats}", *asked, "--json").stdout)
    with_chat, without = record(out, "chats")["tasks"]["eq_bench"], record(out, "plain")["tasks"]["eq_bench"]
    assert with_chat["template"]
    assert without["template"] is None
    assert with_chat["key"] != without["key"]
    assert with_chat["score"]["prompt_sha256"] != without["score"]["prompt_sha256"]
    assert plain["comparisons"] == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "which questions? give --suite"),
        (["nowhere", "--suite", "embedded"], "--suite embedded: asks about held-out text of a study: name it"),
        (["nowhere", "--suite", "other"], "--suite:"),
        (["nowhere", "--tasks", "gsm8k", "--limit", "0"], "--limit is 0: must be above 0"),
        (["nowhere", "--tasks", "../x"], "--tasks"),
        (["nowhere", "--tasks", "gsm8k", "--temperature", "nan"], "--temperature nan: write 0"),
        (["nowhere", "--tasks", "gsm8k", "--max-tokens", "0"], "--max-tokens 0: write a whole number"),
        (["nowhere", "--tasks", "gsm8k", "--device", "tpu"], "--device 'tpu': write cpu"),
        (["nowhere", "--tasks", "gsm8k", "--precision", "int8"], "--precision int8: write float32 or bfloat16"),
        (["a=nowhere", "a=other", "--tasks", "gsm8k"], "has the label a, as 'nowhere': write label=MODEL"),
        (["nowhere", "--study", "demo", "--run", "demo", "--tasks", "gsm8k"], "demo: no such run"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], expected: str, tmp_path: Path, cache: Path) -> None:
    line = told(scores(*words, "--out", str(tmp_path / "out"), "--runs", str(tmp_path)))
    assert expected in line
    assert len(line) < 300
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "label",
    ["../x", "a/b", "", ".", "..", ".hidden", "a" * 61, "gains.json", "x\ny", "<b>", "a:b", "a ", "con\0", "-x"],
)
def test_a_label_that_cannot_name_a_folder_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder") as raised:
        named.refuse_alike([named.NamedModel(label, "model")])
    assert len(str(raised.value).splitlines()) == 1


def test_a_model_is_named_by_its_folder_its_repository_or_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trial = Path("runs/demo/trials/almr=0.60_lr=3e-03_seed=0")
    (trial / "model").mkdir(parents=True)
    given = [str(trial), str(trial / "model"), "org/name@main", "基座=x/y", "sft=almr=0.60", "."]
    found = [named.read([text])[0] for text in given]
    assert [one.label for one in found] == [trial.name, trial.name, "name", "基座", "sft", tmp_path.name]
    assert [one.model for one in found] == [*given[:3], "x/y", "almr=0.60", "."]
    (trial.parent.parent / "study.yaml").touch()
    with pytest.raises(InputError, match="neither a trial nor a launch of this run saved a model"):
        named.read(["cpt=runs/demo"])
    (trial / "model" / "config.json").touch()
    assert named.read(["runs/demo"]) == [named.NamedModel("demo", str(trial.resolve() / "model"))]
    assert named.read([f"almr=0.5={trial}"])[0] == named.NamedModel("almr=0.5", str(trial))
    with pytest.raises(InputError, match="the label 'a/b' cannot name a folder"):
        named.read([f"a/b={trial}"])
    assert named.read(["a=x"], ["b=y"])[1] == named.NamedModel("b", "y", reference=True)


@pytest.mark.heavy
def test_an_interrupt_leaves_what_is_finished(study: str, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    models = [f"m{k}={small_model}" for k in range(30)]
    command = [sys.executable, "-m", "sweep.cli", "scores", *models, "--suite", "embedded", "--study", study]
    started = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    until = time.monotonic() + 120
    while not (out / "m0" / "record.json").is_file() and time.monotonic() < until and started.poll() is None:
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert errors.splitlines()[-1] == "almr: interrupted; finished tasks are kept; run the same command again to go on"
    assert record(out, "m0")["tasks"]
    assert not (out / "gains.json").exists()
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.slow
def test_a_run_holds_its_table_of_gains(local_study: Study, small_model: Path, tmp_path: Path) -> None:
    run = Run.within(tmp_path / "runs", local_study.name)
    run.freeze(local_study)
    run.keep_ingredients(prepare.prepare(local_study))
    other = _with_other_tokens(small_model, tmp_path / "other")
    words = [f"base={small_model}", "--reference", str(other), "--suite", "embedded", "--run", run.address]
    result = scores(*words)
    assert result.exit_code == 1  # of the reference there is no score
    assert "questions are tokens of the study's tokenizer, and this model has another one" in result.stdout
    assert {path.name for path in run.files.gains.glob("gains.*")} == {
        f"gains.{kind}" for kind in ("csv", "html", "json", "md", "tex")
    }
    assert not [one for one in doctor.examine(run).remarks if run.files.gains in one.path.parents]
    (run.files.gains / "base" / "questions.json").write_text('{"cloze_original": [2, "x"]}')
    (run.files.gains / "gains.json").write_text("[]")
    damaged = {one.path.name for one in doctor.examine(run).remarks if run.files.gains in one.path.parents}
    assert damaged == {"questions.json", "gains.json"}


def _with_other_tokens(model: Path, folder: Path) -> Path:
    """A copy whose tokenizer gives every token the number of another one."""
    shutil.copytree(model, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    names = list(content["model"]["vocab"])
    content["model"]["vocab"] = dict(zip([names[0], *reversed(names[1:])], range(len(names)), strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_the_template_of_a_model_is_of_the_questions_that_the_table_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked in another way, a score stays until there is a new one, and has no part in the table."""
    from analysis.scores.gains.model_record import ModelIdentity, ModelRecord, TaskScore
    from sweep.verbs.scores import score

    def asked(key: str, template: str | None) -> TaskScore:
        return TaskScore(key=key, model="m", score=Score(value=0.5), questions="", template=template)

    found = types.SimpleNamespace(name="one", fingerprint="m", files={}, commit=None)
    record = ModelRecord(
        label="one",
        identity=ModelIdentity(named="one", sha256="m", files={}),
        tasks={"shown": asked("now", None), "failed": asked("in a chat", "of before")},
    )
    monkeypatch.setattr(score.checkpoint, "locate", lambda *given: found)
    monkeypatch.setattr(score._Scoring, "_scored", lambda *given: (record, {}))
    questions: Any = types.SimpleNamespace(keys={"shown": "now", "failed": "now"})
    left: Any = types.SimpleNamespace(say=lambda *given: None)
    one = score._Scoring(named.NamedModel("one", "one"), questions, tmp_path, left, {})
    assert one.entry().model.template is None
