"""A Hugging Face hub in memory: one data set, and one model whose files lie in a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from samples import ENGLISH, numbered

from sweep.study import Study
from sweep.study.sections.text.corpora import Corpus

# The library that huggingface_hub sends its requests with: httpx or httpx2, by its version.
httpx: Any = sys.modules[type(huggingface_hub.get_session()).__module__.partition(".")[0]]
COMMIT, LATER = "1" * 40, "2" * 40
NAME, MODEL = "someone/some-text", "someone/some-model"


class FakeHub:
    """Answers with the commit of the branch main, and gives its rows and files, until it is unplugged."""

    def __init__(self) -> None:
        self.commit: str | None = COMMIT
        self.fault, self.asked = "", 0
        self.model: Path | None = None  # the folder with the model's files
        self.sent: list[str] = []  # the names of the files that were downloaded

    def answer(self, request: Any) -> Any:
        self.asked += 1
        if self.fault == "404":
            return httpx.Response(404, headers={"X-Error-Code": "RepoNotFound"}, request=request)
        if self.fault:
            raise httpx.ConnectTimeout("timed out", request=request)
        if "/resolve/" in request.url.path:
            return self._file(request)
        if "/tree/" in request.url.path:  # of chat templates: there are none
            return httpx.Response(200, json=[], request=request)
        files = sorted(self.model.iterdir()) if self.model else []
        siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in files]
        name = MODEL if "/models/" in request.url.path else NAME
        return httpx.Response(200, json={"id": name, "sha": self.commit, "siblings": siblings}, request=request)

    def _file(self, request: Any) -> Any:
        assert self.model
        commit, name = request.url.path.rsplit("/", 2)[1:]
        if not (self.model / name).is_file():
            return httpx.Response(404, headers={"X-Error-Code": "EntryNotFound"}, request=request)
        content = (self.model / name).read_bytes()
        commit = commit if len(commit) == len(COMMIT) else str(self.commit)  # else it is a branch
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": commit, "Content-Length": str(len(content))}
        if request.method == "HEAD":
            return httpx.Response(200, headers=headers, request=request)
        self.sent.append(name)
        return httpx.Response(200, headers=headers, content=content, request=request)

    def load_dataset_builder(self, path: str, revision: str | None, **options: Any) -> Any:
        if self.fault:
            raise ConnectionError(f"Couldn't reach '{path}' on the Hub")
        return FakeBuilder(revision)


class FakeBuilder:
    info, config = datasets.DatasetInfo(), datasets.BuilderConfig()

    def __init__(self, commit: str | None) -> None:
        self.hash = commit

    def download_and_prepare(self) -> None:
        pass

    def as_dataset(self, split: str) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"text": [f"{numbered(i)} {self.hash}. {ENGLISH}" for i in range(30)]})

    def as_streaming_dataset(self, split: str) -> datasets.IterableDataset:
        return self.as_dataset(split).to_iterable_dataset()


def serve(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The body of a fixture: the hub that every request goes to."""
    made = FakeHub()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache / "hf"))
    monkeypatch.setattr(datasets, "load_dataset_builder", made.load_dataset_builder)
    huggingface_hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(made.answer)))
    yield made
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


def unplug(fake: FakeHub, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    fake.fault = how


def of_the_hub(study: Study, **corpus: Any) -> Study:
    corpora = study.corpora.model_copy(update={"additional": Corpus(dataset=NAME, held_out=0.2, **corpus)})
    return study.model_copy(update={"corpora": corpora})
