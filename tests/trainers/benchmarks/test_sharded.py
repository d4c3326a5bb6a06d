"""A model sharded over two processes is scored as the whole one is, on both ranks."""

from __future__ import annotations

from pathlib import Path

import benchmark_samples
import pytest
import torch
from torch import distributed, multiprocessing

from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import harness
from trainers.benchmarks.outcome import ScoringOutcome

TASKS = Benchmarks(tasks=["c3", "drcd"])


def scored(model: str, data: str, shard: bool) -> ScoringOutcome:
    from torch.distributed.fsdp import fully_shard
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    loaded = AutoModelForCausalLM.from_pretrained(model)
    if shard:
        for layer in loaded.model.layers:
            fully_shard(layer)
        fully_shard(loaded)
    asked = TASKS.model_copy(update={"data": data})
    tokenizer = AutoTokenizer.from_pretrained(model)
    return harness.run(list(TASKS.tasks), asked, loaded, tokenizer, "float32", lambda: None)


def rank(number: int, folder: str, model: str, data: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    torch.save(scored(model, data, shard=True), f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_a_sharded_model_is_scored_as_the_whole_one(tmp_path: Path, small_model: Path, cache: Path) -> None:
    data = str(benchmark_samples.write(tmp_path / "data"))
    whole = scored(str(small_model), data, shard=False)
    assert set(whole.scores) == {"c3", "drcd"}
    multiprocessing.spawn(rank, (str(tmp_path), str(small_model), data), nprocs=2)
    for number in range(2):
        assert torch.load(tmp_path / f"{number}.pt", weights_only=False) == whole
