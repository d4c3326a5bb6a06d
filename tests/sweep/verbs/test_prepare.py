"""`almr prepare`, what `almr plan` says about it before and after, and a run that goes on from it without a network."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import fake_hub
import pytest
from fake_hub import COMMIT, LATER, MODEL, FakeHub, of_the_hub, unplug
from rich.console import Console
from samples import ENGLISH, bowl_csv, numbered, study_content
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import Status, Study, Trial, study_file
from sweep.study.sections.benchmarks import Benchmarks
from sweep.verbs.running import preparing
from trainers.packing.pack import LaunchText
from trainers.trials import cpt


@pytest.fixture
def fake(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    yield from fake_hub.serve(cache, monkeypatch)


@pytest.fixture
def local(local_study: Study, tmp_path: Path) -> str:
    return written(local_study, tmp_path)


@pytest.fixture
def hub(local_study: Study, tmp_path: Path, small_model: Path, fake: FakeHub) -> str:
    """Its model and one of its corpora are of the hub."""
    fake.model = small_model
    base = local_study.base_model.model_copy(update={"pretrained": MODEL})
    return written(of_the_hub(local_study.model_copy(update={"base_model": base})), tmp_path)


def written(study: Study, folder: Path) -> str:
    (folder / "study.yaml").write_text(study_file.dump(study))
    return str(folder / "study.yaml")


def invoke(*arguments: str) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def checks(study: str, tmp_path: Path) -> dict[str, tuple[bool, str]]:
    command = ["plan", study, "--check", "--json", "--runs", str(tmp_path / "runs")]
    found = json.loads(CliRunner().invoke(cli.app, command).stdout)["checks"]
    return {check["name"]: (check["ok"], check["detail"]) for check in found}


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that is refused, without the phases before it."""
    monkeypatch.setattr("sys.argv", ["almr", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.run_command()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_it_says_what_lies_where_and_the_next_time_that_nothing_changed(local: str, cache: Path) -> None:
    lines = invoke("prepare", local).splitlines()
    assert "small: prepared in " in "\n".join(lines)
    assert [line for line in lines if line.startswith("corpora.original: ") and "blocks of 32 tokens: " in line]
    assert all("to train on, " in line for line in lines if "blocks of" in line)
    assert f", in {cache}" in "\n".join(lines)
    assert lines[-1] == f"next: almr run {local}"
    assert "small: was prepared already: nothing has changed" in invoke("prepare", local).splitlines()


def test_prepare_and_plan_say_what_was_dropped_and_what_is_between_documents(local: str, tmp_path: Path) -> None:
    begin = "BOS before each if the tokenizer itself does so (shown by --check and almr prepare)"
    before = invoke("plan", local)
    assert f"documents: {begin}; end-of-text after each" in before.splitlines()
    assert re.findall(r"(?m)^(.*) epochs +~", before) == ["original", "additional"]
    assert "~ is estimated from the size of the files; almr prepare counts the tokens" in before.splitlines()
    for i in range(12):
        (tmp_path / "original" / f"{i:02} again.txt").write_text(
            (tmp_path / "original" / f"{i:02}.txt").read_text().upper()
        )
    (tmp_path / "original" / "12.txt").write_text(f"{numbered(12)}<end>{ENGLISH}")
    for lines in (invoke("prepare", local).splitlines(), invoke("plan", local).splitlines()):
        assert "documents: no BOS before each, as the tokenizer itself does; end-of-text after each" in lines
        assert "~" not in "".join(lines)
        [dropped] = [line for line in lines if "dropped from training" in line]
        assert re.fullmatch(r"corpora.original: 0 copies and \d+ near-cop(y|ies) of held-out documents .*", dropped)
        assert "corpora.original: special tokens of the tokenizer stand in the text once, and are read as text" in lines
    found = json.loads(invoke("plan", local, "--json"))
    assert found["documents"] == {"bos": False, "eos": True}
    assert found["corpora"]["original"]["near_copies"] > 0


def test_added_benchmarks_are_fetched_and_what_is_missing_is_said(
    local: str, local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("prepare", local)
    (tmp_path / "quiz.yaml").write_text("task: quiz\ndataset_path: someone/quiz\ntest_split: test\n")
    benchmarks = Benchmarks(tasks=("quiz",), include=str(tmp_path))
    written(local_study.model_copy(update={"benchmarks": benchmarks}), tmp_path)
    assert not json.loads(invoke("plan", local, "--json"))["prepared"]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **b: (_ for _ in ()).throw(ValueError("gated")))
    out = invoke("prepare", local)
    assert "nothing has changed" not in out
    assert ", but not benchmarks: no data of quiz" in out
    again = json.loads(invoke("prepare", local, "--json"))
    assert (again["prepared"], again["already_prepared"], again["changed"]) == (False, False, [])


def test_changed_content_is_said_even_where_size_and_time_of_a_file_are_the_same(local: str, tmp_path: Path) -> None:
    invoke("prepare", local)
    file = next((tmp_path / "original").iterdir())
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_text("X" + file.read_text()[1:])
    os.utime(file, ns=times)
    assert "anew: corpora.original: its content has changed" in invoke("prepare", local)


def test_as_json_it_has_sizes_paths_and_commits(hub: str) -> None:
    found = json.loads(invoke("prepare", hub, "--json"))
    assert (found["prepared"], found["already_prepared"]) == (True, False)
    assert found["commits"] == {"base_model": COMMIT, "additional": COMMIT}
    assert found["disk_bytes"]["total"] == sum(n for part, n in found["disk_bytes"].items() if part != "total")
    assert found["disk_bytes"]["corpora.additional"] > 0
    assert all(Path(path).exists() for paths in found["paths"].values() for path in paths)
    assert json.loads(invoke("prepare", hub, "--json"))["already_prepared"]


def test_commits_are_shown_and_a_new_one_is_said(hub: str, fake: FakeHub) -> None:
    assert f"commit of corpora.additional: {COMMIT}" in invoke("prepare", hub)
    fake.commit = LATER
    assert f"anew: base_model at commit {LATER}, before {COMMIT}" in invoke("prepare", hub)


def test_a_changed_field_is_said_by_prepare_run_and_check(
    local: str, local_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("prepare", local)
    longer = local_study.training.model_copy(update={"sequence_length": 64})
    changed = local_study.model_copy(update={"training": longer})
    written(changed, tmp_path)
    ok, detail = checks(local, tmp_path)["preparation"]
    assert ok
    assert detail.startswith("not done: base_model, corpora.original, corpora.additional (training.sequence_length: 32")
    prepare_run(changed, tmp_path)
    assert "preparing anew what has changed: training.sequence_length: 32 -> 64" in capsys.readouterr().out
    assert "anew: training.sequence_length: 32 -> 64" in invoke("prepare", local)


def prepare_run(study: Study, tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.folder.mkdir(exist_ok=True)
    preparing.prepare(study, run, Console(soft_wrap=True))
    return run


def no_network(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENETUNREACH, "Network is unreachable")


def test_prepared_once_a_run_trains_without_a_network(
    hub: str, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("prepare", hub)
    capsys.readouterr()
    unplug(fake, "time-out", monkeypatch)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    fake.asked = 0
    study = study_file.load(hub)
    made = prepare_run(study, tmp_path).ingredients()
    out = capsys.readouterr().out
    assert "taking what almr prepare has prepared" in out
    assert f"commit of base_model: {COMMIT}" in out
    assert made
    (tmp_path / "trial").mkdir()
    record = cpt.run_trial(study, Trial(almr=0.5, lr=1e-3, seed=0), made, tmp_path / "trial")
    assert record
    assert record.status is Status.COMPLETE
    assert fake.asked == 0


def test_check_before_after_and_offline(
    hub: str, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checks(hub, tmp_path)
    assert before["preparation"][0]
    assert before["preparation"][1].startswith("not done: base_model, corpora.original, corpora.additional: almr run ")
    invoke("prepare", hub)
    unplug(fake, "offline", monkeypatch)
    fake.asked = 0
    after = checks(hub, tmp_path)
    assert {name for name, (ok, _) in after.items() if not ok} == set()
    assert after["preparation"][1].startswith("done, ")
    assert after["corpora.additional"][1].endswith(f"commit {COMMIT}")
    assert after["base model"][1].endswith(f"commit {COMMIT}")
    assert fake.asked == 0


def test_check_names_the_part_that_is_outdated(local: str, tmp_path: Path) -> None:
    invoke("prepare", local)
    (tmp_path / "original" / "99.txt").write_text(ENGLISH)
    found = checks(local, tmp_path)
    assert found["preparation"][1].startswith("not done: corpora.original (corpora.original: its files have changed): ")
    assert found["corpora.original"] == (True, "13 files")
    told = invoke("plan", local, "--check", "--runs", str(tmp_path / "runs"))
    assert "note: preparation: not done: corpora.original" in told
    assert found["corpora.additional"][1].startswith("prepared: ")


def test_a_tokenizer_of_the_users_own_that_changed_is_noticed(
    local_study: Study, tmp_path: Path, small_model: Path
) -> None:
    own = tmp_path / "tokenizer"
    own.mkdir()
    for file in small_model.glob("*token*"):
        (own / file.name).write_bytes(file.read_bytes())
    base = local_study.base_model.model_copy(update={"tokenizer": str(own)})
    study = local_study.model_copy(update={"base_model": base})
    name = written(study, tmp_path)
    invoke("prepare", name)
    before = LaunchText(study, study.grid_trials[0], "trl", Path(name), {}).key
    assert checks(name, tmp_path)["preparation"][1].startswith("done, ")
    content = json.loads((own / "tokenizer.json").read_text())
    (own / "tokenizer.json").write_text(json.dumps(content, indent=3))
    changed = "not done: base_model.tokenizer (base_model.tokenizer: its files have changed): "
    assert checks(name, tmp_path)["preparation"][1].startswith(changed)
    assert LaunchText(study, study.grid_trials[0], "trl", Path(name), {}).key != before, "what was packed is another's"


def test_offline_and_not_prepared_check_says_what_cannot_be_reached(
    hub: str, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unplug(fake, "offline", monkeypatch)
    faults = {name for name, (ok, _) in checks(hub, tmp_path).items() if not ok}
    assert faults == {"base model", "corpora.additional"}


def test_the_plan_states_the_measured_use_once_it_is_prepared(hub: str) -> None:
    before = json.loads(invoke("plan", hub, "--json"))
    assert (before["prepared"], before["disk_measured"], before["disk_bytes"]["downloads"]) == (False, False, None)
    assert "disk: not known before it is prepared (" in invoke("plan", hub)
    real = json.loads(invoke("prepare", hub, "--json"))["disk_bytes"]
    after = json.loads(invoke("plan", hub, "--json"))
    assert before["disk_bytes"].keys() - {"temporary"} == after["disk_bytes"].keys()
    assert after["disk_bytes"]["base_model"] == real["base_model"]
    assert (after["prepared"], after["disk_measured"]) == (True, True)
    assert after["disk_bytes"]["corpora"] == real["corpora.original"] + real["corpora.additional"]
    assert after["disk_bytes"]["total"] == real["total"] + after["disk_bytes"]["logs"]
    assert "of it is prepared, as measured" in invoke("plan", hub)


@pytest.mark.parametrize("prepared", [True, False])
def test_the_plan_without_a_network_asks_the_hub_once_at_most(
    hub: str, fake: FakeHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, prepared: bool
) -> None:
    study = study_file.load(hub)
    Path(hub).write_text(study_file.dump(study.model_copy(update={"keep": "best"})))  # its disk needs the shape
    if prepared:
        invoke("prepare", hub)
    unplug(fake, "time-out", monkeypatch)
    fake.asked = 0
    caplog.clear()
    plan = json.loads(invoke("plan", hub, "--json"))
    assert fake.asked == (0 if prepared else 1)
    assert (plan["disk_bytes"]["models"] is not None) == prepared
    assert [record for record in caplog.records if record.name.startswith("huggingface_hub")] == []


def test_a_full_disk_is_one_line(
    local: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", full)
    line = refusal(monkeypatch, capsys, "prepare", local)
    fix = "free some space, then run the same command again, or set ALMR_CACHE to a folder of another disk"
    assert line.startswith(f"almr: {cache}/corpora/")
    assert line.endswith(f": No space left on device; {fix}")


def test_a_cache_that_cannot_be_written_is_one_line(
    local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "file"))
    line = refusal(monkeypatch, capsys, "prepare", local)
    assert line == f"almr: {tmp_path / 'file'}: File exists; check the path"


def test_a_replayed_study_needs_none(tmp_path: Path, cache: Path) -> None:
    bowl_csv(tmp_path / "table.csv", [0.1, 0.5, 0.9], [1e-3, 3e-3, 1e-2])
    content = study_content(replay={"table": "table.csv"}, grid={"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]})
    study = written(Study.model_validate(content), tmp_path)
    assert "nothing to prepare" in invoke("prepare", study)
    assert not cache.exists()
    assert json.loads(invoke("plan", study, "--json"))["prepared"]
    assert json.loads(invoke("prepare", study, "--json"))["prepared"]
