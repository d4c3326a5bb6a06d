"""Memory and FLOPs of `almr plan` beside what torch counts of the same training step on fake tensors.

    python tests/benchmarks/memory.py [--sample N] [--seed N] [--only-sample]

The first tables are Llama-3 8B over 8 workers and SmolLM2-135M on one; the last is a random sample of shapes and
settings. Needs neither GPU nor memory; tests/support/fake_step.py says what it stands for.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fake_step import flops_of_training, gpu_study, peak_of_training

from sweep.planning.requirements import TrialMemory
from sweep.study import Study
from sweep.study.sizes.family import FAMILIES
from sweep.study.sizes.known import KNOWN
from sweep.study.sizes.shape import Shape

NAMED: tuple[tuple[str, int, int, int], ...] = (  # model, workers, sequences at once, their length
    ("meta-llama/Meta-Llama-3-8B", 8, 1, 8192),
    ("HuggingFaceTB/SmolLM2-135M", 1, 4, 2048),
)
CHECKPOINTING = ("none", "selective", "full")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=30, help="number of random shapes and settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-sample", action="store_true", help="without the named models, which take minutes")
    arguments = parser.parse_args()
    if not arguments.only_sample:
        named_tables()
    print("\n| shape | settings | planned, GB | tracked, GB | off by | most in |\n|---|---|---|---|---|---|")
    chosen = random.Random(arguments.seed)
    off = [sample_row(chosen) for _ in range(arguments.sample)]
    if off:
        print(f"\n{len(off)} at random: off by {min(off):+.1%} to {max(off):+.1%}")


def named_tables() -> None:
    print("| model | workers | micro-batch | checkpointing | planned, GB | tracked, GB | off by | most in |")
    print("|---|---|---|---|---|---|---|---|")
    for name, workers, sequences, length in NAMED:
        for checkpointing in CHECKPOINTING:
            study = gpu_study(workers, sequences, length, checkpointing=checkpointing)
            label = f"{name.split('/')[1]} | {workers} | {sequences} x {length:,} | {checkpointing}"
            memory_row(label, study, KNOWN[name].shape)
    print("\n| model | checkpointing | planned, GFLOPs per token | counted | scores again | checkpointing again |")
    print("|---|---|---|---|---|---|")
    for name, workers, sequences, length in NAMED:
        flop_rows(name, workers, sequences, length)


def memory_row(label: str, study: Study, shape: Shape, micro_batches: int = 2) -> float:
    planned = TrialMemory(shape, study)
    total, tracked = planned.at(planned.micro_batch).total, peak_of_training(study, shape, micro_batches)["Total"]
    off, where = total / tracked - 1, planned.moment(planned.micro_batch).name
    print(f"| {label} | {total / 1e9:.2f} | {tracked / 1e9:.2f} | {off:+.1%} | {where} |", flush=True)
    return off


def flop_rows(name: str, workers: int, sequences: int, length: int) -> None:
    shape, plain = KNOWN[name].shape, 0.0
    planned = shape.training_flops(length)
    for checkpointing in CHECKPOINTING:
        counted = flops_of_training(gpu_study(workers, sequences, length, checkpointing=checkpointing), shape)
        plain = plain or counted["all"]
        own, again = plain - counted["scores"], counted["all"] - plain
        cells = " | ".join(f"{flops / 1e9:.3f}" for flops in (planned, own, counted["scores"], again))
        print(f"| {name.split('/')[1]} | {checkpointing} | {cells} |", flush=True)


def sample_row(chosen: random.Random) -> float:
    shape = random_shape(chosen)
    length, micro_batches = chosen.choice([512, 1024, 2048, 4096, 8192]), chosen.choice([1, 2])
    sequences = chosen.choice([1, 2, 4]) if length <= 4096 else 1
    settings: dict[str, Any] = {
        "checkpointing": chosen.choice(CHECKPOINTING),
        "reshard": chosen.random() < 0.8,
        "micro_batches": micro_batches,
        "document_masking": chosen.random() < 0.6,
        "precision": chosen.choice(["bfloat16"] * 4 + ["float32"]),
        "optimizer": {"state": chosen.choice(["float32", "bfloat16"])},
    }
    workers = chosen.choice([1, 2, 8, 16])
    study = gpu_study(workers, sequences, length, **settings)
    words = [f"{workers} workers", f"{sequences} x {length}", settings["checkpointing"], settings["precision"]]
    words += [f"moments {settings['optimizer']['state']}", f"{micro_batches} micro-batches"]
    words += ["masked"] * settings["document_masking"] + ["kept gathered"] * (not settings["reshard"])
    return memory_row(f"{described(shape)} | {', '.join(words)}", study, shape, micro_batches)


def random_shape(chosen: random.Random) -> Shape:
    heads, width, given = chosen.choice([4, 8, 9, 12, 16, 32]), chosen.choice([32, 64, 128]), chosen.random() < 0.3
    hidden = chosen.choice([512, 1024, 2048]) // heads * heads if given else heads * width
    return Shape(
        hidden_size=hidden,
        intermediate_size=int(hidden * chosen.choice([1.5, 2.67, 3.5, 4])) // 16 * 16,
        num_hidden_layers=chosen.choice([2, 3, 5]),
        num_attention_heads=heads,
        num_key_value_heads=chosen.choice([n for n in range(1, heads + 1) if heads % n == 0]),
        head_dim=width if given else None,
        vocab_size=chosen.choice([2000, 32000, 49152, 128256, 151936]),
        tie_word_embeddings=chosen.random() < 0.5,
        model_type=(family := chosen.choice(sorted(FAMILIES))),
        sliding_window=1024 if family == "mistral" else None,
    )


def described(shape: Shape) -> str:
    heads = f"{shape.num_attention_heads}/{shape.num_key_value_heads} heads"
    width = f" of {shape.head_dim}" if shape.head_dim else ""
    tied = ", tied" if shape.tie_word_embeddings else ""
    sizes = f"{shape.hidden_size} x {shape.intermediate_size} x {shape.num_hidden_layers}"
    return f"{shape.model_type} {sizes}, {heads}{width}, {shape.vocab_size:,} words{tied}"


if __name__ == "__main__":
    main()
