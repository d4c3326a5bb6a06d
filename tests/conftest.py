"""Fixtures of several rooms: a cache of the test's own, a small model on disk, a study that trains in seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from one_ray import TwoNodes
from samples import CHINESE, ENGLISH, POEM, RHYME, local_content
from threadpoolctl import threadpool_limits
from xdist.scheduler import LoadFileScheduling

from sweep.study import Study

# No test needs the hub: what asks it for a name that nobody has is told so at once, not after its time-outs.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A machine that is busy is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


class FilesButRayTogether(LoadFileScheduling):  # type: ignore[misc]
    """Each test file goes to one worker, and all that start Ray to the same: each takes the whole machine."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "ray" if "pytest.mark.ray" in (self.config.rootpath / file).read_text(encoding="utf-8") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesButRayTogether:
    """Not --dist=loadgroup: under pytest 9.2 version 3.8 does not see its groups, and says nothing."""
    return FilesButRayTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ray's tests first: one worker has them to itself. Then files with slow tests, so that no long one is the last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("ray") is None, item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices are small here: more threads are slower, beside another worker's tests much so."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    """The Ray cluster of all tests that need none of their own."""
    cluster = TwoNodes()
    yield cluster
    cluster.close()


@pytest.fixture
def shared_ray(two_nodes: TwoNodes) -> Iterator[None]:
    """What this test runs in this process joins the cluster of all, and starts none."""
    with two_nodes.serves():
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of some 50k parameters with a byte-level tokenizer, as a Hugging Face directory. It has learned a
    little: a base model with random weights is refused.
    """
    import torch
    from base_models import teach
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([ENGLISH, CHINESE], 300, special_tokens=["<end>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<end>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=300
    )
    model = LlamaForCausalLM(config)
    teach(model, tokenizer, [ENGLISH, CHINESE, RHYME, POEM])
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def local_study(tmp_path: Path, small_model: Path, cache: Path) -> Study:
    """A study of the small model on local files: trains in a second or two."""
    return Study.model_validate(local_content(tmp_path, small_model))
