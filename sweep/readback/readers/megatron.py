"""Reads megatron_args.txt: --data-path with megatron-core's get_blend_from_list, the LRs with OptimizerParamScheduler.

No package contains Megatron-LM's argument parser: the other arguments are read by their names.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron.core.datasets.utils import get_blend_from_list

SHIFT = 1  # Megatron's seeds begin at 1


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    given = arguments((folder / "megatron_args.txt").read_text(encoding="utf-8").splitlines())
    one = {name: values[0] for name, values in given.items() if len(values) == 1}
    prefixes, weights = get_blend_from_list(given.get("data-path") or given["train-data-path"])
    assert weights, "the blend has no weights"
    assert all(weight > 0 for weight in weights)
    sequences, length = int(one["global-batch-size"]), int(one["seq-length"])
    names = [Path(prefix).name.removesuffix("_text_document") for prefix in prefixes]
    return {
        "parsers": "megatron-core's get_blend_from_list and OptimizerParamScheduler",
        "lr": float(one["lr"]),
        "token_shares": {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)},
        "steps": int(one["train-samples"]) / sequences,
        "tokens": int(one["train-samples"]) * length,
        "global_batch_tokens": sequences * length,
        "sequence_length": length,
        "checkpoint_steps": int(one["save-interval"]),
        "seed": int(one["seed"]) - SHIFT,
        "beta1": float(one["adam-beta1"]),
        "beta2": float(one["adam-beta2"]),
        "epsilon": float(one["adam-eps"]),
        "weight_decay": float(one["weight-decay"]),
        "max_grad_norm": float(one["clip-grad"]),
        "bos": json.loads((folder / "corpora.json").read_text(encoding="utf-8"))["bos"],
        "eos": "--append-eod" in (folder / "prepare.sh").read_text(encoding="utf-8"),
        "lrs": lrs(one, question["steps"]),
    }


def arguments(tokens: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for token in tokens:
        if token.startswith("--"):
            found[name := token[2:]] = []
        else:
            found[name].append(token)
    return found


def lrs(one: dict[str, str], steps: list[int]) -> list[float]:
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    style, wsd = one["lr-decay-style"], one.get("lr-wsd-decay-samples")
    scheduler = OptimizerParamScheduler(
        SimpleNamespace(param_groups=[]),
        init_lr=float(one["lr-warmup-init"]),
        max_lr=float(one["lr"]),
        min_lr=float(one["min-lr"]),
        lr_warmup_steps=int(one["lr-warmup-samples"]),
        lr_decay_steps=int(one["lr-decay-samples"]),
        lr_decay_style=style,
        start_wd=0.0,
        end_wd=0.0,
        wd_incr_steps=1,
        wd_incr_style="constant",
        wsd_decay_steps=int(wsd) if wsd else None,
        lr_wsd_decay_style=one.get("lr-wsd-decay-style"),
    )
    found = []
    for step in steps:
        scheduler.num_steps = step * int(one["global-batch-size"])
        found.append(scheduler.get_lr({}))
    return found
