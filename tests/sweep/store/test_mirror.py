"""A run on an object store: what its mirrors show, in what order files get there, and how many round trips it takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bucket
import fsspec
import pytest
from samples import bowl_csv, make_study, study_content

from analysis.scores.read import read
from analysis.table import table as tables
from sweep.store.mirror import Mirror
from sweep.store.run import Run
from sweep.study import InputError, PerLanguage, Record, Status, Study, Trial
from sweep.worker.run_trial import at_worker
from trainers.benchmarks.outcome import ScoringOutcome, score


@pytest.fixture
def kept(tmp_path: Path, cache: Path) -> Path:
    """The folder behind the bucket."""
    bucket.register()
    bucket.Bucket.calls.clear()
    return tmp_path / "kept" / "small"


def begun(kept: Path) -> tuple[Run, Study, Trial]:
    run, study = Run(f"bucket://{kept}"), make_study()
    run.freeze(study)
    return run, study, study.grid_trials[0]


def elsewhere(kept: Path, tmp_path: Path) -> Run:
    """The run as another host sees it."""
    run = Run(f"bucket://{kept}", tmp_path / "elsewhere" / str(len(list(tmp_path.glob("elsewhere/*")))))
    run.refresh()
    return run


def record(study: Study, trial: Trial, status: Status = Status.COMPLETE) -> Record:
    return Record(
        **trial.model_dump(), trial_id=trial.id, fingerprint=study.fingerprint, status=status, attempt=1,
        loss=PerLanguage(original=3.0, additional=5.0),
    )  # fmt: skip


def test_a_study_that_was_not_put_is_put_by_the_next_session(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is here then, and the same: its workers look for it in the store."""
    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "put", _killed)
        with pytest.raises(KeyboardInterrupt):
            begun(kept)
    assert not (kept / "study.yaml").exists()
    begun(kept)
    assert (kept / "study.yaml").is_file()


def _killed(mirror: Mirror, *names: str) -> None:
    raise KeyboardInterrupt


def test_what_one_host_writes_another_reads(kept: Path, tmp_path: Path) -> None:
    run, study, trial = begun(kept)
    run.start(trial, study)
    run.finish(record(study, trial))
    other = elsewhere(kept, tmp_path)
    assert other.study() == study
    assert other.record(trial) == record(study, trial)
    assert other.attempts(trial) == 1
    assert trial not in other.left(study.grid_trials)


def test_a_name_of_the_store_that_leads_out_of_the_run_is_not_followed(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(kept)
    (outside := tmp_path / "evil.json").write_text("theirs")
    find = bucket.Bucket.find
    more = [f"{kept}/../../../../evil.json", f"{kept}/launch/../../../../../evil.json", f"{kept}/", f"{kept}/trials/"]

    def with_odd_names(self: bucket.Bucket, path: str, detail: bool = False, **options: object) -> object:
        return find(self, path, detail=True) | {name: self.info(str(outside)) for name in more}

    monkeypatch.setattr(bucket.Bucket, "find", with_odd_names)
    monkeypatch.setattr(bucket.Bucket, "get_file", lambda self, rpath, lpath, **_: Path(lpath).write_text("from there"))
    other = elsewhere(kept, tmp_path)
    assert other.files.study.read_text() == "from there"
    assert outside.read_text() == "theirs"
    assert sorted(path.name for path in (tmp_path / "elsewhere").rglob("*.json")) == [".mirror.json"]


def test_a_worker_leaves_its_files_before_its_record(kept: Path, tmp_path: Path) -> None:
    run, study, trial = begun(kept)
    with at_worker(run.address, trial) as at:
        assert at.study() == study
        at.start(trial, study)
        (at.trial_folder(trial) / "metrics.jsonl").write_text('{"step": 1}\n')
        (at.trial_folder(trial) / "checkpoint").mkdir()
        (at.trial_folder(trial) / "checkpoint" / "weights").write_bytes(b"1" * 1000)
        at.finish(record(study, trial))
        scratch = at.folder
    puts = [call for call in bucket.Bucket.calls if call.startswith("put")]
    assert puts.index("put record.json") > max(puts.index("put metrics.jsonl"), puts.index("put weights"))
    assert not scratch.exists()
    run.refresh(trial)
    assert run.await_record(trial) == record(study, trial)
    assert not (run.trial_folder(trial) / "checkpoint").exists()  # a driver has no use for it


def test_scores_are_read_with_each_question_from_another_host(kept: Path, tmp_path: Path, cache: Path) -> None:
    run, study, trial = begun(kept)
    ScoringOutcome({"t": score([1.0, 0.0])}, {"t": [1.0, 0.0]}, {"u": "no data"}).write_base(
        cache / "base_scores" / "base"
    )
    with at_worker(run.address, trial) as at:
        scored = {"scores": {"t": score([1.0, 1.0])}, "provenance": {"base_scores": "base"}}
        ScoringOutcome(questions={"t": [1.0, 1.0]}).write(at.trial_folder(trial))
        at.keep_base_scores(done := record(study, trial).model_copy(update=scored))
        at.finish(done)
    other = elsewhere(kept, tmp_path)
    found = read(other.folder, tables.read_run(other.folder))
    assert [model.answers["t"].questions.tolist() for model in found.models] == [[1, 0], [1, 1]]
    assert found.base.failures == {"u": "no data"}


def test_a_preempted_trial_goes_on_elsewhere_with_its_files_and_cleans_them_up(kept: Path, tmp_path: Path) -> None:
    run, study, trial = begun(kept)
    with contextlib.suppress(KeyboardInterrupt), at_worker(run.address, trial) as at:
        at.start(trial, study)
        (at.trial_folder(trial) / "state.pt").write_bytes(b"state")
        raise KeyboardInterrupt
    with at_worker(run.address, trial) as again:
        assert (again.trial_folder(trial) / "state.pt").read_bytes() == b"state"
        assert again.start(trial, study) == 2
        (again.trial_folder(trial) / "state.pt").unlink()
    assert not (kept / "trials" / trial.id / "state.pt").exists()


def test_what_was_put_before_a_put_failed_is_deleted_with_its_file(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that its trainer deletes while it is put, as where that takes longer than the next one is away."""
    run, _, _ = begun(kept)
    mirror, put = run.mirror, bucket.Bucket.put_file
    assert mirror
    (step := run.folder / "checkpoint" / "step-1").mkdir(parents=True)
    for name in ("a.distcp", "b.distcp", "state.json"):
        (step / name).write_text(name)

    def deleting(self: bucket.Bucket, lpath: str, rpath: str, **options: object) -> None:
        if rpath.endswith("b.distcp"):
            shutil.rmtree(step)
        put(self, lpath, rpath)

    with monkeypatch.context() as patch:
        patch.setattr(bucket.Bucket, "put_file", deleting)
        with pytest.raises(InputError):
            mirror.push()
    assert [path.name for path in (kept / "checkpoint" / "step-1").iterdir()] == ["a.distcp"]
    mirror.push()
    assert not list((kept / "checkpoint" / "step-1").iterdir())


def test_a_checkpoint_that_is_deleted_is_marked_as_none_first(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _, _ = begun(kept)
    assert run.mirror
    (step := run.folder / "checkpoint" / "step-1").mkdir(parents=True)
    for name in ("a.distcp", "state.json", ".metadata"):
        (step / name).write_text(name)
    run.mirror.push()
    shutil.rmtree(step)
    removed: list[str] = []
    monkeypatch.setattr(bucket.Bucket, "rm_file", lambda self, path: removed.append(Path(path).name))
    run.mirror.push()
    assert removed[0] == "state.json"
    assert sorted(removed) == [".metadata", "a.distcp", "state.json"]


def test_a_running_trial_is_seen_from_the_driver(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.worker.run_trial.PUSH_SECONDS", 0.05)
    monkeypatch.setattr("sweep.store.run_trials.LOOK_SECONDS", 0.0)
    run, _, trial = begun(kept)
    with at_worker(run.address, trial) as at:
        (at.trial_folder(trial) / "metrics.jsonl").write_text('{"step": 7}\n')
        for _ in range(200):
            if run.progress(trial) == 7:
                break
            bucket.time_passes()
    assert run.progress(trial) == 7


def test_many_trials_are_read_by_one_listing_and_only_once(kept: Path, tmp_path: Path) -> None:
    _, study, trial = begun(kept)
    for seed in range(200):
        one = trial.model_copy(update={"seed": seed})
        path = kept / "trials" / one.id / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(record(study, one).model_dump_json())
        (path.parent / "metrics.jsonl").write_text("{}\n")
    run = Run(f"bucket://{kept}")
    for expected in (200, 0):
        bucket.Bucket.calls.clear()
        run.refresh()
        assert bucket.Bucket.calls.count("list") == 1
        assert bucket.Bucket.calls.count("get record.json") == expected
        assert "get metrics.jsonl" not in bucket.Bucket.calls
    assert len(list(run.folder.glob("trials/*/record.json"))) == 200
    (kept / "trials" / trial.id / "record.json").unlink()  # a person's way to have it run again
    again = Run(f"bucket://{kept}")
    again.refresh()
    assert again.record(trial) is None


def test_outputs_are_put_where_the_run_is_and_stale_ones_go(kept: Path) -> None:
    run, _, _ = begun(kept)
    for names in (["fit.json", "launch/old.yaml"], ["fit.json", "launch/new.yaml"]):
        for path in (run.files.launch / "old.yaml", run.files.launch / "new.yaml"):
            path.unlink(missing_ok=True)
        for name in names:
            (run.folder / name).parent.mkdir(exist_ok=True)
            (run.folder / name).write_text(name)
        run.share()
    assert sorted(p.name for p in kept.rglob("*") if p.is_file()) == ["fit.json", "new.yaml", "study.yaml"]


def test_a_driver_holds_the_run_for_all_hosts(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.store.remote.RemoteLockFile.settle_seconds", 0.0)
    run, _, _ = begun(kept)
    with run.locked():
        with pytest.raises(InputError, match=rf"\(pid {os.getpid()}, .* delete bucket://{kept}/lock\.json"):  # noqa: SIM117
            with elsewhere(kept, tmp_path).locked():
                pass
        (run.folder / "report.html").write_text("page")
    assert (kept / "report.html").exists()
    assert not (kept / "lock.json").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nosuch://a/b", r"nosuch://a/b/run: fsspec cannot open this storage: Protocol not known: nosuch"),
        ("hdfs://a/b", "hdfs does not write files whole: mount it"),
        ("fails://a/b", "fails://a/b/run: reading or writing the store failed .no credentials"),
        ("missing://a/b", r"Install s3fs.*: pip install 'almr-sweep\[s3\]'"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(address: str, says: str, cache: Path) -> None:
    class Fails(bucket.Bucket):
        protocol = "fails"

        def find(self, path: str, detail: bool = False, **options: object) -> None:
            raise RuntimeError("no\ncredentials")

    fsspec.register_implementation("fails", Fails, clobber=True)
    fsspec.register_implementation("missing", "no_such.It", clobber=True, errtxt="Install s3fs to use S3")
    with pytest.raises(InputError, match=says) as raised:
        Run.find("run", address)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.ray
def test_a_replayed_study_runs_on_a_bucket(kept: Path, tmp_path: Path) -> None:
    """Driver and Ray's workers are processes of their own, which share nothing but the bucket."""
    almr, lrs = [0.1, 0.5, 0.9], [1e-4, 1e-3, 1e-2]
    table = bowl_csv(tmp_path / "table.csv", almr, lrs)
    settings = {"replay": {"table": str(table)}, "resources": {"concurrent": 1}}
    study = study_content(name="small", grid={"almr": almr, "lr": lrs}, **settings)
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    bucket.install(tmp_path / "site")
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, str(tmp_path / "site")])}
    runs = f"bucket://{kept.parent}"

    def almr_says(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-c", "from sweep.cli import main; main()", *arguments, "--runs", runs, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode in (0, 3), done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    ran = almr_says("run", str(tmp_path / "study.yaml"))
    assert ran["run"] == f"{runs}/small"
    assert len(list(kept.glob("trials/*/record.json"))) == 9
    assert {"fit.json", "report.html", "trials.csv", "study.yaml", "code"} <= {p.name for p in kept.iterdir()}
    again = Run.find("small", runs)
    assert [again.record(trial) is not None for trial in again.study().grid_trials] == [True] * 9
    assert not (kept / "lock.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"), [({"keep": "best"}, "keep: best"), ({"resources": {"nodes": 2}}, "resources.nodes")]
)
def test_what_needs_one_folder_for_all_is_refused(kept: Path, changes: dict[str, object], message: str) -> None:
    from rich.console import Console

    from sweep.verbs.running import run as sweep_run

    study = make_study(grid={"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}, **changes)
    with pytest.raises(InputError, match=message):
        sweep_run.run(study, Run(f"bucket://{kept}"), Console())
    assert not kept.exists()
