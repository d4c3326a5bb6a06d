"""Tokens/s, MFU and peak memory of our own loop beside `transformers.Trainer`, each way in a process of its own.

measure(..., SHAPE): all ways of one shape       python -m tests.gpu.parts.speed SHAPE WAY: one way, one line of JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweep.study.sections.resources import Execution
from sweep.study.sizes.known import KNOWN
from sweep.study.sizes.shape import USABLE, Shape
from tests.gpu import planned
from tests.gpu.runner import REASON_LENGTH, one_line
from tests.gpu.setting import Setting, gigabytes

LENGTH, CPU_LENGTH = 8192, 64
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 512,
}
EIGHT_B = KNOWN["meta-llama/Meta-Llama-3-8B"].shape
STATE_BYTES = 10  # of a parameter: float32 weight and gradient, two moments of 8 bits
LIMITS = {"135M": 40, "1B": 45, "largest": 60}  # seconds of one way
CPU_LIMIT = 300
# sequences a step, at once; steps; moments; activation checkpointing
GPU: dict[str, tuple[int, int, int, str, str]] = {
    "135M": (8, 4, 8, "float32", "none"),
    "1B": (4, 2, 7, "float32", "none"),
    "largest": (2, 1, 5, "int8", "full"),
}
# The ways in the order of what they tell: a part may be stopped before the last.
WAYS: dict[str, tuple[str, ...]] = {
    "135M": ("ours sdpa", "ours sdpa compiled", "Trainer sdpa", "Trainer sdpa compiled"),
    "1B": ("ours sdpa", "ours sdpa compiled", "Trainer sdpa", "Trainer sdpa compiled"),
    "largest": ("ours sdpa", "Trainer sdpa"),
}
WAYS = {name: (*ways, "ours flash_attention_2", "Trainer flash_attention_2") for name, ways in WAYS.items()}
FEWER_LAYERS = 3  # at each try of the largest model


def measure(setting: Setting, write: Callable[..., None], shape: str) -> None:
    for way in WAYS[shape]:
        if missing := _missing(shape, way):
            write(f"{shape}, {way}", {"not run": missing})
            continue
        row = _in_a_process(shape, way, setting.of(LIMITS[shape], CPU_LIMIT))
        write(f"{shape}, {way}", row.get("values"), row.get("failed"))


def _missing(shape: str, way: str) -> str | None:
    """What a way needs that is not here."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    if "flash" in way and not is_flash_attn_2_available():
        return "flash-attn is not installed, or there is no GPU"
    eight_bits = GPU[shape][3] == "int8" and find_spec("torchao") is None
    return "torchao, for 8-bit moments, is not installed" if eight_bits else None


def _in_a_process(shape: str, way: str, limit: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.gpu.parts.speed", shape, way]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped at {limit:g} s"}
    lines = done.stdout.strip().splitlines()
    try:
        row: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"failed": f"exit status {done.returncode}, no answer"}
    return row


def main() -> None:
    setting, (shape, way) = Setting.of_environment(), sys.argv[1:]
    try:
        row: dict[str, Any] = {"values": one_way(setting, shape, way)}
    except Exception as error:
        row = {"failed": f"failed: {one_line(error)}"[:REASON_LENGTH]}
    print("\n" + json.dumps(row))


def one_way(setting: Setting, name: str, way: str) -> dict[str, Any]:
    """Train one way; the largest model loses layers until it fits."""
    import torch

    from trainers.loop.out_of_memory import free_memory

    trainer, attention, *more = way.split()
    layers = None
    while True:
        work = planned_work(setting, name, Execution(attention=attention, compile=bool(more)), layers)
        try:
            return _measured(setting, work, trainer == "Trainer")
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if name != "largest" or not _out_of_memory(error):
                raise
            layers = work.shape.num_hidden_layers - FEWER_LAYERS
        free_memory()  # outside of the handler: the exception holds the tensors of the failed pass


def _out_of_memory(error: BaseException) -> bool:
    return "out of memory" in str(error).lower()


def planned_work(setting: Setting, name: str, execution: Execution, layers: int | None) -> Any:
    """What is trained at this name: on a CPU a tiny model."""
    from tests.gpu.ways import Work

    sequences, micro, steps, moments, checkpointing = GPU[name]
    execution = execution.model_copy(update={"activation_checkpointing": checkpointing})
    if not setting.gpu:
        return Work(Shape.model_validate(TINY), CPU_LENGTH, sequences, micro, 4, moments, execution)
    shapes = {
        "135M": lambda: KNOWN["HuggingFaceTB/SmolLM2-135M"].shape,
        "1B": lambda: KNOWN["meta-llama/Llama-3.2-1B"].shape,
        "largest": lambda: with_layers(layers or fitting_layers()),
    }
    return Work(shapes[name](), LENGTH, sequences, micro, steps, moments, execution)


def with_layers(layers: int) -> Shape:
    return EIGHT_B.model_copy(update={"num_hidden_layers": layers})


def fitting_layers() -> int:
    """The most layers of Llama-3 8B's width that `almr plan` says fit on this GPU."""
    import torch

    usable = USABLE * torch.cuda.get_device_properties(0).total_memory
    content = planned_content(GPU["largest"], LENGTH)
    deep = range(1, EIGHT_B.num_hidden_layers + 1)
    return max((n for n in deep if planned.trial_bytes(content, with_layers(n)) <= usable), default=1)


def planned_content(sizes: tuple[int, int, int, str, str], length: int) -> dict[str, Any]:
    """A study of this setting, for what `almr plan` says of its memory."""
    sequences, micro, steps, moments, checkpointing = sizes
    training = {
        "sequence_length": length,
        "tokens": steps * sequences * length,
        "global_batch_tokens": sequences * length,
        "micro_batch_sequences": micro,
        "precision": "bfloat16",
        "optimizer": {"state": moments},
    }
    corpora = {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}}
    return {
        "name": "planned",
        "base_model": {"embedded": "tiny"},
        "corpora": corpora,
        "training": training,
        "grid": {"almr": [0.5], "lr": [1e-3]},
        "execution": {"activation_checkpointing": checkpointing},
    }


def _measured(setting: Setting, work: Any, rival: bool) -> dict[str, Any]:
    import torch

    from tests.gpu import ways
    from trainers.workers.device import mfu, peak_memory_bytes

    device = torch.device("cuda", 0) if setting.gpu else torch.device("cpu")
    if setting.gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    seconds, more = _rival(work, device) if rival else (ways.ours(work, device), _said(work))
    speed = work.tokens * len(seconds) / sum(seconds)
    used = mfu(work.shape.training_flops(work.length), speed, device)
    return {
        "tokens/s": speed,
        "MFU": round(used, 4) if used is not None else "unknown",
        "peak memory, GB": gigabytes(peak_memory_bytes(device)),
        "parameters, M": round(work.shape.parameters / 1e6, 1),
        "layers": work.shape.num_hidden_layers,
        "s a step": sum(seconds) / len(seconds),
        **more,
        "start and warm-up, s": time.perf_counter() - began - sum(seconds),
    }


def _said(work: Any) -> dict[str, Any]:
    sizes = (work.sequences, work.micro, work.steps, work.moments, work.execution.activation_checkpointing)
    return {"planned peak, GB": gigabytes(planned.trial_bytes(planned_content(sizes, work.length), work.shape))}


def _rival(work: Any, device: Any) -> tuple[list[float], dict[str, Any]]:
    """With Liger's kernels on a GPU; where they fail, without."""
    from tests.gpu import ways
    from trainers.loop.out_of_memory import free_memory

    kernels = device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        try:
            return ways.trainer(work, device, Path(folder), kernels), {"Liger": "used" if kernels else "needs a GPU"}
        except Exception as error:
            if not kernels or _out_of_memory(error):
                raise
            reason = one_line(error)
        free_memory()
        return ways.trainer(work, device, Path(folder), kernels=False), {"Liger": f"failed: {reason}"[:REASON_LENGTH]}


if __name__ == "__main__":
    main()
