"""Tokens per second, MFU and peak memory of a trial's loop against the same model in `transformers.Trainer`.

    python tests/benchmarks/throughput.py [SHAPE ...] [--steps N]

Each way runs in a process of its own, with random weights and tokens, on one core or one GPU; needs the extra `bench`.
MFU is against the matrix products that this device was measured to do, at 6 FLOPs per parameter and token.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from sweep.study.sections.recipe.training import Training
from sweep.study.sections.resources import Execution

# hidden, intermediate, layers, heads, key-value heads, vocabulary, length, sequences a step, sequences at once
SHAPES: dict[str, tuple[int, ...]] = {
    "tiny": (96, 256, 3, 4, 4, 2048, 128, 16, 8),
    "10M": (256, 704, 8, 8, 8, 8192, 256, 8, 8),
    "135M": (576, 1536, 30, 9, 3, 49152, 2048, 64, 16),
    "1B": (2048, 8192, 16, 32, 8, 128256, 8192, 8, 2),
    "8B": (4096, 14336, 32, 32, 8, 128256, 8192, 4, 1),
}
ON_CPU = ("tiny", "10M")
WAYS = ("ours", "Trainer, default", "Trainer, best")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--way", choices=WAYS, help="measure this way alone, here")
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.shapes[0], arguments.way, arguments.steps)))
        return
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else "one CPU core"
    print(f"{device}: {products():.3g} FLOP/s of matrix products measured\n")
    print("| shape | way | tokens/s | MFU | peak memory, GiB |\n|---|---|---|---|---|")
    for shape in arguments.shapes:
        for way in WAYS:
            row = in_a_process(shape, way, arguments.steps) if gpu or shape in ON_CPU else None
            cells = "not measured | not measured | not measured"
            if row:
                cells = (
                    f"{row['speed']:,.0f} | {row['mfu']:.1%} | {row['memory']:.2f}" if "speed" in row else row["failed"]
                )
            print(f"| {shape} | {way} | {cells} |", flush=True)


def in_a_process(shape: str, way: str, steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, shape, "--way", way, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": f"failed: {done.stderr.strip().splitlines()[-1][:80]} | - | -"}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measure(shape: str, way: str, steps: int) -> dict[str, float]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rate = products()
    with tempfile.TemporaryDirectory() as folder:
        model, seconds = ours(shape, steps) if way == "ours" else trainer(shape, steps, way.endswith("best"), folder)
    tokens = SHAPES[shape][6] * SHAPES[shape][7]
    speed = tokens * len(seconds) / sum(seconds)
    parameters = sum(p.numel() for p in model.parameters())
    return {"speed": speed, "mfu": 6 * parameters * speed / rate, "memory": peak() / 2**30}


def products(size: int = 1024) -> float:
    """FLOP/s of the best of some products of square matrices: bfloat16 on a GPU, float32 on one core."""
    gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    size = 8192 if gpu else size
    a = torch.randn(size, size, device="cuda" if gpu else "cpu", dtype=torch.bfloat16 if gpu else torch.float32)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        a @ a
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def make(shape: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, intermediate, layers, heads, pairs, vocabulary, length, _, _ = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=pairs,
        vocab_size=vocabulary,
        max_position_embeddings=length,
        tie_word_embeddings=shape in ("tiny", "10M", "135M"),
        use_cache=False,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return LlamaForCausalLM(config)


def recipe(shape: str, steps: int) -> Training:
    length, sequences, micro = SHAPES[shape][6:]
    gpu = torch.cuda.is_available()
    return Training.model_validate(
        {
            "sequence_length": length,
            "tokens": steps * length * sequences,
            "global_batch_tokens": length * sequences,
            "micro_batch_sequences": micro,
            "precision": "bfloat16" if gpu else "float32",
            "optimizer": {"state": "bfloat16" if shape == "8B" else "float32"},
        }
    )


def ours(shape: str, steps: int) -> tuple[Any, list[float]]:
    """As `trainers.trials.cpt` trains: FSDP2's bfloat16 policy, compiled layers, checkpointed activations on a GPU."""
    from trainers.loop.learner import Learner
    from trainers.model import fitting, output_layer
    from trainers.model.token_loss import TokenLoss
    from trainers.workers.group import WorkerGroup

    model, training, gpu = make(shape), recipe(shape, steps), torch.cuda.is_available()
    how = "full" if shape in ("1B", "8B") else "none"
    execution = Execution(compile=gpu, activation_checkpointing=how)
    fitting.checkpoint_activations(model, execution)
    output_layer.fuse(model, execution, model.device)
    workers = WorkerGroup(0, 1, model.device, sharded=gpu)
    if gpu:
        torch.distributed.init_process_group("nccl", store=torch.distributed.HashStore(), rank=0, world_size=1)
        fitting.shard(model, training.precision, workers)
        fitting.set_communication(model, execution, workers)
        fitting.compile_layers(model)
    learner = Learner(TokenLoss(model), training, 1e-4, workers)
    ends = [step.seconds for step in learner.train(data(shape, steps, model.device), lambda step: 1.0, lambda s: False)]
    return model, [b - a for a, b in pairwise(ends[1:])]  # the first two steps warm up


def data(shape: str, steps: int, device: torch.device) -> list[torch.Tensor]:
    vocabulary, length, sequences = SHAPES[shape][5:8]
    return [torch.randint(vocabulary, (sequences, length), device=device) for _ in range(steps)]


def trainer(shape: str, steps: int, best: bool, folder: str) -> tuple[Any, list[float]]:
    """Defaults: 8 sequences at once (1 from 1B on), float32, no kernels. Best: what the same device allows it."""
    from step_clock import StepClock
    from transformers import Trainer, TrainingArguments

    rows = torch.cat(data(shape, steps, torch.device("cpu")))
    gpu, (sequences, micro) = torch.cuda.is_available(), SHAPES[shape][7:]
    large = shape in ("1B", "8B")
    at_once = micro if best else min(8, sequences, 1 if large else 8)
    options: dict[str, Any] = {"gradient_checkpointing": large}
    if best and gpu:
        options |= {"bf16": True, "torch_compile": not large, "use_liger_kernel": True, "optim": "adamw_torch_fused"}
    clock = StepClock(gpu)
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=sequences // at_once,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=not gpu,
        **options,
    )
    examples: Any = [{"input_ids": row, "labels": row} for row in rows]
    model = make(shape)
    Trainer(model=model, args=arguments, train_dataset=examples, callbacks=[clock]).train()
    return model, [b - a for a, b in pairwise(clock.ends[1:])]


def peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
