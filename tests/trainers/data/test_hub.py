"""Data sets of the hub: a hub that cannot be reached never changes what a corpus is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import fake_hub
import pytest
from fake_hub import COMMIT, LATER, NAME, FakeBuilder, FakeHub, of_the_hub, unplug
from rich.console import Console
from samples import CHINESE

from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Record, Status, Study, Trial
from sweep.study.sections.text.corpora import Corpus
from sweep.verbs.running import preparing
from sweep.worker import launch_run
from trainers import prepare
from trainers.data.documents import resolve
from trainers.data.origins import hub


def verb_prepare(run: Run, study: Study) -> None:
    preparing.prepare(study, run, Console(quiet=True))


@pytest.fixture
def fake(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    yield from fake_hub.serve(cache, monkeypatch)


def cached_ref(cache: Path, revision: str, commit: str) -> None:
    refs = cache / "hf" / "datasets--someone--some-text" / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    (refs / revision).write_text(commit)
    (refs.parent / "snapshots" / commit).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("how", ["time-out", "offline", "404"])
@pytest.mark.parametrize("documents", [None, 20])
def test_a_prepared_run_resumes_without_the_hub(
    local_study: Study, tmp_path: Path, fake: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str, documents: int | None
) -> None:
    study, run = of_the_hub(local_study, documents=documents), Run(tmp_path / "run")
    made = prepare.prepare(study)
    assert made.commits == {"additional": COMMIT}
    run.keep_ingredients(made)
    trial = Trial(almr=0.5, lr=1e-3, seed=0)
    run.finish(Record(**trial.model_dump(), trial_id=trial.id, fingerprint="f", attempt=1, status=Status.COMPLETE))
    unplug(fake, how, monkeypatch)
    cached_ref(tmp_path / "cache", "main", LATER)  # another study has seen a later commit
    assert prepare.prepare(study, earlier=run.ingredients()) == made
    run.keep_ingredients(prepare.prepare(study, earlier=run.ingredients()))


@pytest.mark.parametrize("prepare_run", [verb_prepare, lambda run, study: launch_run.prepare(run, study)])
def test_the_commands_resume_with_what_the_run_recorded(
    local_study: Study, tmp_path: Path, fake: FakeHub, prepare_run: Callable[[Run, Study], None]
) -> None:
    study, run = of_the_hub(local_study), Run(tmp_path / "run")
    prepare_run(run, study)
    made = run.ingredients()
    fake.fault = "time-out"
    cached_ref(tmp_path / "cache", "main", LATER)
    prepare_run(run, study)
    assert run.ingredients() == made


def test_the_hub_decides_for_a_new_run_and_a_resumed_one_keeps_its_commits(local_study: Study, fake: FakeHub) -> None:
    study = of_the_hub(local_study)
    made = prepare.prepare(study)
    fake.commit = LATER
    assert prepare.prepare(study, earlier=made) == made
    later = prepare.prepare(study)
    assert later.commits == {"additional": LATER}
    assert later.fingerprints()["corpora.additional"] != made.fingerprints()["corpora.additional"]


def test_ingredients_of_an_earlier_version_are_read(local_study: Study, fake: FakeHub) -> None:
    content = json.loads(prepare.prepare(local_study).model_dump_json())
    del content["commits"]
    assert Ingredients.model_validate(content).commits == {}


def test_a_full_commit_hash_is_used_without_asking(fake: FakeHub) -> None:
    branch = resolve(Corpus(dataset=NAME), "corpora.original")
    assert fake.asked == 1
    fake.fault = "time-out"
    pinned = resolve(Corpus(dataset=NAME, revision=COMMIT), "corpora.original")
    assert fake.asked == 1
    assert pinned.commit == branch.commit == COMMIT
    assert pinned == resolve(Corpus(dataset=NAME, revision=COMMIT), "corpora.original", hub.RecordedCommit(LATER))


@pytest.mark.parametrize(("revision", "ref"), [(None, "main"), ("v1", "v1")])
def test_the_cached_copy_stands_in_for_the_hub(
    fake: FakeHub, cache: Path, revision: str | None, ref: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec = Corpus(dataset=NAME, revision=revision)
    online = resolve(spec, "corpora.original")
    fake.fault = "time-out"
    cached_ref(cache, ref, COMMIT)
    with caplog.at_level(logging.WARNING):
        assert resolve(spec, "corpora.original") == online
    assert f"corpora.original: {NAME} cannot be reached on the hub" in caplog.text


@pytest.mark.parametrize("how", ["time-out", "offline", "404", ""])
def test_without_any_copy_it_is_one_line(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    unplug(fake, how, monkeypatch)
    fake.commit = None  # an answer without a commit is no answer either
    with pytest.raises(InputError, match=f"corpora.original: {NAME} cannot be reached on the hub") as raised:
        resolve(Corpus(dataset=NAME, revision="v1"), "corpora.original")
    assert "check its name, the network and HF_TOKEN" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pinned_data_set_that_is_not_here_is_one_line(local_study: Study, fake: FakeHub) -> None:
    fake.fault = "time-out"
    with pytest.raises(InputError, match=rf"corpora\.additional: {NAME}: cannot be reached on the hub") as raised:
        prepare.prepare(of_the_hub(local_study, revision=COMMIT))
    assert "\n" not in str(raised.value)


def test_rows_of_another_commit_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hub `datasets` offers the copy that it cached last, whatever the revision."""
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *arguments, **options: FakeBuilder(LATER))
    with pytest.raises(InputError, match=f"not of commit {COMMIT}"):
        list(hub.documents(Corpus(dataset=NAME), COMMIT, "corpora.original"))
    assert len(list(hub.documents(Corpus(dataset=NAME), LATER, "corpora.original"))) == 30


def test_a_local_folder_has_no_commit(tmp_path: Path, fake: FakeHub) -> None:
    (tmp_path / "a.txt").write_text(CHINESE)
    assert resolve(Corpus(dataset=str(tmp_path)), "corpora.original").commit is None
    assert fake.asked == 0


@pytest.mark.parametrize("how", ["time-out", "offline"])
def test_a_cached_base_model_keeps_its_fingerprint(
    local_study: Study,
    small_model: Path,
    fake: FakeHub,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    unplug(fake, how, monkeypatch)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub tries again for half a minute
    repository = cache / "hf" / "models--someone--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / COMMIT).symlink_to(small_model)
    base = local_study.base_model.model_copy(update={"pretrained": "someone/some-model"})
    study = local_study.model_copy(update={"base_model": base})
    pinned = study.model_copy(update={"base_model": base.model_copy(update={"revision": COMMIT})})
    made = prepare.prepare(study)
    assert ("HF_HUB_OFFLINE=1" in caplog.text) == (how == "time-out")
    assert made == prepare.prepare(study, earlier=made)
    assert made.base_model_fingerprint == prepare.prepare(pinned).base_model_fingerprint


@pytest.mark.parametrize("name", ["../../etc/passwd", "/data/not-there", "a/b/c", "an owner/name"])
def test_what_is_neither_folder_nor_name_is_told_as_that(name: str) -> None:
    assert hub._explain(ValueError("x"), Corpus(dataset=name)).startswith("is no folder, and no name on the hub")


def test_a_fault_names_only_what_the_study_states() -> None:
    message = hub._explain(ValueError("x"), Corpus(dataset="an/other", config="b"))
    assert "check `config: b`, `split: train`, `field: text`, or" in message
