from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from samples import make_study, study_content

from sweep.store import provenance
from sweep.store.lock import LocalLockFile
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, PerLanguage, Proposed, Record, Status, Study, Trial
from sweep.study.files.atomic import write_atomically
from sweep.study.files.reader import NewerFileError
from sweep.study.files.trial_files import read_request


def record(study: Study, trial: Trial, status: Status = Status.COMPLETE) -> Record:
    return Record(
        **trial.model_dump(), trial_id=trial.id, fingerprint=study.fingerprint, status=status, attempt=1,
        loss=PerLanguage(original=3.0, additional=5.0), seconds=2.0,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "small")
    run.freeze(make_study())
    return run


def test_left_is_the_grid_without_its_records(run: Run) -> None:
    study = make_study()
    first, second, third, *rest = study.grid_trials
    run.finish(record(study, first))
    run.finish(record(study, second, Status.DIVERGED))
    run.finish(record(study, third, Status.FAILED))
    assert run.left(study.grid_trials) == [third, *rest]


def test_the_record_of_another_trial_is_refused(run: Run) -> None:
    first, second, *_ = make_study().grid_trials
    for wrong in (record(make_study(), first), record(make_study(), second).model_copy(update={"lr": 0.5})):
        path = run.files.trial(second.id).record
        write_atomically(path, wrong.model_dump_json())
        with pytest.raises(InputError) as raised:
            run.left([second])
        says = f"{path}: the record is of trial {wrong.trial.id!r}, but its folder is named {second.id!r}: "
        assert str(raised.value) == f"{says}if the folder is a copy, move it out of trials/, else delete the file"


def test_trials_of_another_version_are_refused_in_one_line(run: Run) -> None:
    """The study is the same, but this version trains otherwise: its schedules end elsewhere."""
    study = make_study()
    first, second, *_ = study.grid_trials
    old = {"fingerprint": "0" * 16}
    run.finish(record(study, first, Status.FAILED).model_copy(update=old))
    run.refuse_other_recipe(study)
    run.finish(record(study, second).model_copy(update=old))
    with pytest.raises(InputError) as raised:
        run.refuse_other_recipe(study)
    assert str(raised.value) == (
        f"{run.address}: its trials have another recipe: {second.id} was trained by another version of almr, of "
        f"fingerprint 0000000000000000; this version has {study.fingerprint}, and its LR ends at schedule.min_lr: give "
        f"the study another name for a new run, or use that version"
    )


def test_a_run_that_lost_its_study_says_how_to_restore_it(run: Run) -> None:
    run.finish(record(make_study(), make_study().grid_trials[0]))
    run.files.study.unlink()
    says = f"{run.files.study}: is missing: copy the study file of this run there"
    with pytest.raises(InputError) as raised:
        Run.find(run.address, "runs")
    assert str(raised.value) == says


def test_a_started_trial_is_not_done(run: Run) -> None:
    study = make_study()
    trial = study.grid_trials[0]
    assert [run.start(trial, study), run.start(trial, study)] == [1, 2]
    assert run.attempts(trial) == 2
    assert trial in run.left(study.grid_trials)


def test_a_grown_grid_adds_only_its_new_points(run: Run) -> None:
    study = make_study()
    for trial in study.grid_trials:
        run.finish(record(study, trial))
    grown = make_study(grid={"almr": [0.1, 0.5, 0.9, 1.0], "lr": [1e-3, 1e-2]})
    run.freeze(grown)
    assert {trial.almr for trial in run.left(grown.grid_trials)} == {1.0}
    assert run.study() == grown


def test_a_changed_recipe_is_refused_with_its_fields_and_nothing_lost(run: Run) -> None:
    before = run.files.study.read_text()
    other = make_study(training=study_content()["training"] | {"tokens": 4096, "precision": "bfloat16"})
    with pytest.raises(InputError, match=r"training\.precision.*training\.tokens: 2048 -> 4096"):
        run.freeze(other)
    assert run.files.study.read_text() == before


def ingredients(**changes: str) -> Ingredients:
    names = ("documents", "tokens", "bytes", "blocks")
    counts = {prefix + name: 9 for prefix in ("", "held_out_") for name in names}
    corpora = {name: {"fingerprint": changes.get(name, name)} | counts for name in ("original", "additional")}
    content = {"base_model": "model", "base_model_fingerprint": changes.get("model", "m"), "folders": {}}
    return Ingredients.model_validate(content | {"corpora": corpora})


def test_other_content_under_the_same_name_is_refused(run: Run) -> None:
    run.keep_ingredients(ingredients())
    run.keep_ingredients(ingredients(original="early"))
    run.finish(record(make_study(), make_study().grid_trials[0]))
    with pytest.raises(InputError, match=r"content of base_model, corpora\.additional has changed"):
        run.keep_ingredients(ingredients(original="early", model="n", additional="b"))
    assert run.ingredients() == ingredients(original="early")


def test_a_broken_record_is_refused_and_kept(run: Run) -> None:
    trial = make_study().grid_trials[0]
    path = run.trial_folder(trial) / "record.json"
    write_atomically(path, '{"half": ')
    with pytest.raises(InputError, match=r"record\.json: not a record"):
        run.left([trial])
    assert path.exists()


BROKEN = ["", '{"half": ', "[]", '{"almr": 0.5}']


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_request_is_read_from_the_record_and_written_anew(run: Run, content: str) -> None:
    study = make_study()
    trial = study.grid_trials[0]
    run.write_request(trial, study, Proposed(index=3, why="curve"), attempt=1)
    request = run.request(trial)
    path = run.trial_folder(trial) / "trial.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"trial\.json: not a trial request"):
        run.requests()
    run.finish(record(study, trial).model_copy(update={"proposed": Proposed(index=3, why="curve")}))
    assert run.requests() == [request]
    assert path.read_text() == content
    run.mend()
    assert read_request(path) == request
    path.write_text('{"schema_version": 99}')
    for act in (run.requests, run.mend):
        with pytest.raises(NewerFileError):
            act()
    assert path.read_text() == '{"schema_version": 99}'


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_state_of_a_search_is_none_and_a_newer_one_is_refused(run: Run, content: str) -> None:
    run.files.search.write_text(content)
    assert run.search_state() is None
    for newer in ('{"schema_version": 99}', '{"strategy": "surface", "budget": 9, "asked": 9, "new": 1}'):
        run.files.search.write_text(newer)
        with pytest.raises(NewerFileError):
            run.search_state()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    texts = [json.dumps([i] * 20000) for i in range(2)]
    write_atomically(path, texts[0])
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for text in texts:
                write_atomically(path, text)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert all(path.read_text() in texts for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("tempfile.mkstemp", PermissionError(errno.EACCES, "Permission denied", "/run/.file.json.x8")),
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: OSError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(call, fail)
    with pytest.raises(type(error)) as raised:
        write_atomically(tmp_path / "file.json", "{}")
    assert (raised.value.errno, raised.value.filename) == (error.errno, str(tmp_path / "file.json"))
    with pytest.raises(type(error)) as raised:
        LocalLockFile(tmp_path / "lock.json").create("{}")
    assert raised.value.filename == str(tmp_path / "lock.json")
    assert not list(tmp_path.iterdir())


def test_progress_survives_a_line_half_written(run: Run) -> None:
    trial = make_study().grid_trials[0]
    assert run.progress(trial) == 0
    write_atomically(run.trial_folder(trial) / "metrics.jsonl", '{"step": 3}\n{"step": 4, "lo')
    assert run.progress(trial) == 3
    write_atomically(run.trial_folder(trial) / "metrics.jsonl", '{"step": 3}\n')
    assert run.progress(trial) == 3
    write_atomically(run.trial_folder(trial) / "metrics.jsonl", '{"step": 3}\n{"horizon": 512, "step": 4}\n')
    assert run.progress(trial) == 3  # that of the main run


def test_staged_code_is_ours_and_its_hash_is_stable(run: Run) -> None:
    digest = run.stage_code()
    assert {path.name for path in run.files.code.iterdir()} == {"sweep", "trainers", "analysis"}
    assert (run.files.code / "sweep" / "studies" / "demo.yaml").is_file()
    assert run.stage_code() == digest


def test_staged_code_is_every_file_of_our_packages(run: Run) -> None:
    root = Path(provenance.__file__).parents[2]
    files = (path for package in provenance.PACKAGES for path in (root / package).rglob("*") if path.is_file())
    ours = {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}
    run.stage_code()
    staged = {str(path.relative_to(run.files.code)) for path in run.files.code.rglob("*") if path.is_file()}
    assert staged == ours  # a new kind of file has to be named in provenance.KINDS


def test_staged_code_is_none_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout, kept = tmp_path / "checkout", tmp_path / "installer/sweep/linked.py"  # as one that links each file
    texts = {"mine.py": "", ".env": "KEY", "notes.ipynb": "{}", "data.bin": "x", "store/provenance.py": "ours"}
    for name, text in texts.items():
        for path in (checkout / package / name for package in provenance.PACKAGES):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    kept.parent.mkdir(parents=True)
    kept.write_text("ours")
    (checkout / "sweep/linked.py").symlink_to(kept)
    (checkout / "sweep/passwd.py").symlink_to("/etc/passwd")
    (checkout / "sweep/home").symlink_to(Path.home())
    monkeypatch.setattr(provenance, "__file__", str(checkout / "sweep/store/provenance.py"))
    provenance.copy_code(tmp_path / "copy")
    copied = {str(path.relative_to(tmp_path / "copy/sweep")) for path in (tmp_path / "copy/sweep").rglob("*.*")}
    assert copied == {"mine.py", "store/provenance.py", "linked.py"}


def test_provenance_holds_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_value")
    run.stage_code()
    run.freeze(make_study())
    written = [p for p in run.folder.rglob("*") if p.is_file()]
    assert not [path for path in written if b"hf_secret_value" in path.read_bytes()]
    assert json.loads((run.folder / "provenance.json").read_text())["versions"]["torch"]


def test_finding_a_run_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"nothing: no such run, here or in {tmp_path}/; start one: almr run"):
        Run.find("nothing", tmp_path)
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "chain.json").write_text('{"planned": {"sft": "chat-sft", "dpo": "chat-dpo"}}')
    with pytest.raises(InputError, match="chat: is a chain, whose stages are runs: name one of chat-sft, chat-dpo"):
        Run.find("chat", tmp_path)


def test_a_missing_file_is_not_called_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("notes")
    for name, says in ((str(tmp_path / "t.xlsx"), "t.xlsx: no such file$"), (str(tmp_path / "notes.md"), "not a run")):
        with pytest.raises(InputError, match=says):
            Run.find(name, tmp_path)


def test_a_second_driver_is_refused_with_the_first_ones_name(run: Run) -> None:
    says = rf"small is already being run by .* \(pid {os.getpid()}, .*delete {run.files.lock}$"
    with run.locked(), pytest.raises(InputError, match=says), Run(run.folder).locked():
        pass
    with run.locked():
        pass
