"""Reads what Megatron-LM leaves: TensorBoard's files, its newest checkpoint, and the samples that it trained on.

It shuffles documents and samples by itself: `rows` is a file with its samples in the run's order, as core's own classes
build them, each of sequence_length + 1 tokens of uint32.
"""

from __future__ import annotations

import os
import runpy
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.utils import get_blend_from_list
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SECONDS, MEMORY = "iteration-time", "mem-max-allocated-bytes"
LOSS, LR, NORM, HELD_OUT = "lm loss", "learning-rate", "grad-norm", "lm loss validation-{}"


def read(folder: Path, checkpoints: Path, question: dict[str, Any]) -> dict[str, Any]:
    os.chdir(folder)  # its arguments name files from here
    given = arguments(Path("megatron_args.txt").read_text(encoding="utf-8").splitlines())
    [run] = [path.parent for path in checkpoints.glob("*/latest_checkpointed_iteration.txt")]
    files = [scalars(path) for path in sorted((run / "tensorboard").glob("events*"), key=lambda p: p.stat().st_mtime)]
    logged, train = newest(files), samples(given, question, run / "rows_cache")
    prefixes = given["train-data-path"][1::2]
    names = [Path(prefix).name.removeprefix("train_") for prefix in prefixes]
    return {
        "steps": steps(logged, given),
        "before": held_out(logged.get(0, {}), given["valid-data-path"]),
        "resumed_from": resumed_from(files),
        "model": str(to_huggingface(run, Path(given["pretrained-checkpoint"][0]).parent)),
        "rows": str(rows(train, run / "rows.bin", question)),
        "streams": {name: f"{Path(prefix).absolute()}.bin" for name, prefix in zip(names, prefixes, strict=True)},
        "batches": batches(sources(train), names, question),
        "versions": f"Megatron core {version('megatron-core')}, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "training_seconds": training_seconds(logged),
        "peak_memory_bytes": max((int(values[MEMORY]) for values in logged.values() if MEMORY in values), default=None),
    }


def training_seconds(logged: dict[int, dict[str, float]]) -> float | None:
    """Of all steps: the first one's time is not logged, and counts as the mean of the others."""
    times = [values[SECONDS] for values in logged.values() if SECONDS in values]
    steps = sum(LOSS in values for values in logged.values())
    return sum(times) / len(times) * steps if times else None


def arguments(tokens: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for token in tokens:
        if token.startswith("--"):
            found[name := token[2:]] = []
        else:
            found[name].append(token)
    return found


def scalars(path: Path) -> dict[int, dict[str, float]]:
    """The values of each step in one file, by name."""
    found: dict[int, dict[str, float]] = {}
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
    for name in events.Tags()["scalars"]:
        for one in events.Scalars(name):
            found.setdefault(one.step, {})[name] = one.value
    return found


def newest(files: list[dict[int, dict[str, float]]]) -> dict[int, dict[str, float]]:
    """A run that was resumed has several files: the newest value of a step counts."""
    found: dict[int, dict[str, float]] = {}
    for one in files:
        for step, values in one.items():
            found.setdefault(step, {}).update(values)
    return found


def resumed_from(files: list[dict[int, dict[str, float]]]) -> int | None:
    """The step of the checkpoint that the last start went on from; None where it began at step 1."""
    trained = [min(steps) for one in files if (steps := [step for step, values in one.items() if LOSS in values])]
    return trained[-1] - 1 if trained and trained[-1] > 1 else None


def steps(logged: dict[int, dict[str, float]], given: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The LR that Megatron logs with a step is that of the next one: its scheduler moves on before."""
    first = given["lr-warmup-init"] if int(given["lr-warmup-samples"][0]) else given["lr"]
    logged = {0: {LR: float(first[0])}} | {step: values for step, values in logged.items() if LOSS in values}
    return [
        {"step": step, "loss": values[LOSS], "lr": logged.get(step - 1, {}).get(LR), "grad_norm": values[NORM]}
        for step, values in sorted(logged.items())
        if step
    ]


def held_out(logged: dict[str, float], prefixes: list[str]) -> dict[str, float]:
    names = [Path(prefix).name.removeprefix("held_out_") for prefix in prefixes]
    return {name: logged[HELD_OUT.format(i)] for i, name in enumerate(names) if HELD_OUT.format(i) in logged}


def to_huggingface(run: Path, packed: Path) -> Path:
    """The newest checkpoint as a Hugging Face folder beside it."""
    out = run / "huggingface"
    shutil.rmtree(out, ignore_errors=True)
    runpy.run_path(str(packed / "to_huggingface.py"))["to_huggingface"](run, packed / "model", out)
    return out


def rows(train: Any, path: Path, question: dict[str, Any]) -> Path:
    with path.open("wb") as file:
        for i in range(question["steps"] * question["batch_sequences"]):
            sample = train[i]
            file.write(np.append(sample["tokens"].numpy(), sample["labels"][-1]).astype("<u4").tobytes())
    return path


def sources(train: Any) -> Any:
    """The number of the source of each sample: core blends only where there are several."""
    return getattr(train, "dataset_index", np.zeros(len(train), int))


def batches(index: Any, names: list[str], question: dict[str, Any]) -> list[dict[str, int]]:
    """How many samples of each source a step's batch has. `index`: the number of the source of each sample."""
    size, steps = question["batch_sequences"], question["steps"]
    found = [np.bincount(index[step * size : (step + 1) * size], minlength=len(names)) for step in range(steps)]
    return [{name: int(count) for name, count in zip(names, counts, strict=True)} for counts in found]


def samples(given: dict[str, list[str]], question: dict[str, Any], cache: Path) -> Any:
    """What pretrain_gpt.py trains on: its train_valid_test_datasets_provider, for the training part."""
    count = question["steps"] * question["batch_sequences"]
    variables = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    os.environ.update(variables)
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    config = GPTDatasetConfig(
        random_seed=int(given["seed"][0]),
        sequence_length=question["sequence_length"],
        blend_per_split=[get_blend_from_list(given["train-data-path"]), None, None],
        path_to_cache=str(cache),
        tokenizer=SimpleNamespace(eod=-1, pad=None, vocab_size=None, unique_identifiers={}),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        mid_level_dataset_surplus=0.005,
    )
    return BlendedMegatronDatasetBuilder(GPTDataset, (count, 0, 0), lambda: True, config).build()[0]
