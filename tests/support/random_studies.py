"""Random valid studies, each with a random table that answers its trials: kinds of surfaces and settings together."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.random import Generator

from sweep.study.sizes.known import GPUS

BASE = {"original": 3.5, "additional": 5.4}
MODELS = ("meta-llama/Meta-Llama-3-70B", "meta-llama/Meta-Llama-3-8B", "HuggingFaceTB/SmolLM2-1.7B", "unknown/model")
SHAPE = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 8}
FORMATS = ("llamafactory", "torchtitan", "megatron", "axolotl", "trl", "native")
REASONS = {"failed": "a test's <b>cause</b>", "diverged": "the loss rose"}
SIZES = (0.05, 0.05, 0.2, 0.3, 0.2, 0.2)  # how often a grid has 1 to 6 values
EMBEDDED = {"original": "shakespeare", "additional": "three-kingdoms"}


def written(folder: Path, seed: int) -> str:
    """The name of a study, written as `folder/study.yaml` with `table.csv` beside it."""
    random = np.random.default_rng(seed)
    grid = _grid(random)
    content: dict[str, Any] = {
        "name": f"random-{seed}",
        "base_model": {"embedded": "tiny"},
        "corpora": _corpora(random),
        "training": _training(random),
        "grid": grid,
        "objective": _objective(random),
        "replay": {"table": "table.csv"},
    }
    if random.random() < 0.4:
        content["search"] = _search(random, grid)
    if random.random() < 0.85:
        content["launch"] = _launch(random)
    if "launch" in content and random.random() < 0.15:
        content["post_training"] = _post_training(random)
    (folder / "table.csv").write_text(_table(random, grid))
    (folder / "study.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return str(content["name"])


def _grid(random: Generator) -> dict[str, Any]:
    columns, rows = random.choice(6, 2, p=SIZES) + 1
    almrs = np.linspace(random.choice([0, 0.05, 0.3]), random.choice([0.6, 0.95, 1]), columns)
    lrs = np.geomspace(1, random.choice([4, 30, 1000]), rows) * random.choice([1e-6, 1e-4, 1e-3])
    seeds = list(range(int(random.choice([1, 1, 1, 2, 3]))))
    return {
        "almr": [round(float(almr), 3) for almr in almrs],
        "lr": sorted({float(f"{lr:.3g}") for lr in lrs}),
        "seeds": seeds,
    }


def _corpora(random: Generator) -> dict[str, Any]:
    named = {"original": "English", "additional": str(random.choice(["Chinese", "中文", "O'Zbek <b>&"]))}
    corpora: dict[str, Any] = {}
    for language, embedded in EMBEDDED.items():
        corpora[language] = {"embedded": embedded, "tokens": int(10 ** random.uniform(5, 12))}
        if random.random() < 0.5:
            corpora[language]["language"] = named[language]
    return corpora


def _training(random: Generator) -> dict[str, Any]:
    training: dict[str, Any] = {
        "sequence_length": 128,
        "tokens": 2048 * int(random.choice([10, 80, 4000])),
        "global_batch_tokens": 2048,
    }
    if random.random() < 0.3:
        training["schedule"] = {"name": "wsd"}
    if random.random() < 0.2:
        training["precision"] = "bfloat16"
    return training


def _objective(random: Generator) -> dict[str, Any]:
    kind = int(random.integers(5))
    objective: dict[str, Any] = {}
    if kind == 1:
        objective["weights"] = {"original": float(random.integers(0, 3)), "additional": float(random.integers(1, 4))}
    if kind == 2:
        objective["forgetting_guard_percent"] = float(random.choice([0, 1, 5, 50]))
    if kind == 3:
        objective["guards"] = [{"source": "original", "at_most_percent": float(random.choice([0, 2, 30]))}]
    if random.random() < 0.3:
        objective["level"] = float(random.choice([0.5, 0.8, 0.99]))
    if random.random() < 0.3:
        objective["max_epochs"] = float(random.choice([0.5, 1, 100]))
    return objective


def _search(random: Generator, grid: dict[str, Any]) -> dict[str, Any]:
    strategy = str(random.choice(["surface", "tpe", "random", "gp"], p=[0.6, 0.15, 0.15, 0.1]))
    grid["seeds"] = grid["seeds"][:1]
    search: dict[str, Any] = {"strategy": strategy, "trials": int(random.integers(7, 24))}
    if random.random() < 0.3:
        search["tolerance"] = float(random.choice([1e-9, 1e-3, 0.1]))
    return search


def _launch(random: Generator) -> dict[str, Any]:
    model, gpus = str(random.choice(MODELS)), int(random.choice([0, 1, 8]))
    launch: dict[str, Any] = {
        "model": model,
        "tokens": int(10 ** random.uniform(8, 13)),
        "global_batch_tokens": 8192 * int(random.choice([128, 512])),
        "sequence_length": int(random.choice([1024, 8192])),
        "nodes": int(random.choice([1, 2, 16])),
        "gpus_per_node": gpus,
        "formats": sorted({str(name) for name in random.choice(FORMATS, 2)}),
        "transfer": _transfer(random),
    }
    if gpus and random.random() < 0.7:
        launch["gpu"] = str(random.choice(list(GPUS)))
    if model == "unknown/model" and random.random() < 0.7:
        launch["shape"] = SHAPE | {"vocab_size": int(random.choice([1000, 128256]))}
    if random.random() < 0.4:
        launch["price_per_gpu_hour"] = 2.5
    return launch


def _transfer(random: Generator) -> dict[str, Any]:
    rule = str(random.choice(["direct", "relative", "power", "ladder"], p=[0.5, 0.1, 0.2, 0.2]))
    transfer: dict[str, Any] = {"rule": rule}
    if random.random() < 0.6:
        transfer["accept_token_ratio"] = 1e12
    if rule == "power":
        transfer["law"] = str(random.choice(["step-law", "deepseek", "token-horizon"]))
    if rule == "ladder":
        transfer["rungs"] = [_rung(random, k) for k in range(int(random.integers(1, 4)))]
    if rule in ("relative", "power", "direct") and random.random() < 0.5:
        transfer["trial"] = {"parameters": 10**7, "pretraining_tokens": 10**9, "peak_lr": 1e-3}
        transfer["launch"] = {"parameters": 7 * 10**10, "pretraining_tokens": 15 * 10**12, "peak_lr": 1.5e-4}
    return transfer


def _rung(random: Generator, k: int) -> dict[str, Any]:
    lr = 3e-3 * 10 ** random.normal(0, 0.2)
    return {
        "parameters": int(10 ** (5.5 + k / 2)),
        "tokens": int(2 * 10 ** (5 + k / 3)),
        "lr": lr,
        "lr_low": lr / 1.3,
        "lr_high": lr * 1.3,
        "almr": 0.5,
        "almr_low": 0.4,
        "almr_high": 0.6,
    }


def _post_training(random: Generator) -> dict[str, Any]:
    stages: dict[str, Any] = {}
    for stage, kind in (("sft", "questions"), ("dpo", "preferences")):
        if random.random() < 0.7 or stage == "sft":
            stages[stage] = {
                "corpora": {language: {"embedded": f"{name}-{kind}"} for language, name in EMBEDDED.items()},
                "documents": {"chat_template": "chatml"},
                "training": {"sequence_length": 256, "tokens": 2**22, "global_batch_tokens": 2**18},
                "grid": {"almr": [0.5], "lr": [1e-4]},
            }
    return stages


def _table(random: Generator, grid: dict[str, Any]) -> str:
    """Losses over the grid: bowls, slopes, planes and plateaus, with noise, outliers, and trials that end otherwise."""
    best = (random.uniform(-0.2, 1.2), math.log(random.choice(grid["lr"])) + random.normal())
    bend, tilt = random.choice([0, 0.01, 0.05, 0.5]), random.normal(0, 0.3)
    noise = random.choice([0, 1e-6, 3e-3, 0.1])
    lost = random.choice([0, 0.05, 0.3], p=[0.7, 0.2, 0.1])
    edge = random.choice([math.inf, max(grid["lr"]) / 2, min(grid["lr"]) * 2], p=[0.6, 0.3, 0.1])
    with_base = random.random() < 0.9
    rows = ["almr,lr,seed,status,reason,loss_original,loss_additional,base_loss_original,base_loss_additional,seconds"]
    for almr, lr, seed in itertools.product(grid["almr"], grid["lr"], grid["seeds"]):
        dip = bend * (math.log(lr) - best[1]) ** 2 + tilt * bend * almr * math.log(lr)
        exact = np.array([3 + 0.4 * almr**2 + dip, 4 + 0.9 * (best[0] - almr) ** 2 + dip])
        losses = np.abs(exact + noise * random.standard_normal(2)) + 1e-3
        losses[1] += 2 * bool(noise and random.random() < 0.03)  # an outlier
        status = "failed" if random.random() < lost else "diverged" if lr > edge else "complete"
        found = [f"{loss:.6f}" for loss in losses] if status == "complete" else ["", ""]
        base = [str(loss) for loss in BASE.values()] if with_base else ["", ""]
        rows.append(",".join([str(almr), str(lr), str(seed), status, REASONS.get(status, ""), *found, *base, "9.5"]))
    return "\n".join(rows) + "\n"
