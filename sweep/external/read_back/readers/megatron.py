"""Reads megatron_args.txt, with the parser of the checkout of Megatron-LM that $MEGATRON names.

No package contains that parser. Without a checkout the arguments are read by their names, and only --train-data-path
and the LRs by classes of megatron-core.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron.core.datasets.utils import get_blend_from_list

SHIFT = 1  # Megatron's seeds begin at 1
CORE = "megatron-core's get_blend_from_list and OptimizerParamScheduler"


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    tokens = (folder / "megatron_args.txt").read_text(encoding="utf-8").splitlines()
    checkout = Path(os.environ.get("MEGATRON") or Path.home() / "Megatron-LM")
    found = (checkout / "pretrain_gpt.py").is_file()
    one = parsed(checkout, tokens, model(folder), question["processes"]) if found else by_name(tokens)
    prefixes, weights = get_blend_from_list(one["train_data_path"])
    assert weights, "the blend has no weights"
    assert all(weight > 0 for weight in weights)
    names = [Path(prefix).name.removeprefix("train_") for prefix in prefixes]
    sequences, length = int(one["global_batch_size"]), int(one["seq_length"])
    return {
        "parsers": f"Megatron-LM's parse_args and validate_args; {CORE}" if found else CORE,
        "lr": float(one["lr"]),
        "token_shares": {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)},
        "steps": int(one["train_samples"]) / sequences,
        "tokens": int(one["train_samples"]) * length,
        "global_batch_tokens": sequences * length,
        "sequence_length": length,
        "checkpoint_steps": int(one["save_interval"]),
        "seed": int(one["seed"]) - SHIFT,
        "beta1": float(one["adam_beta1"]),
        "beta2": float(one["adam_beta2"]),
        "epsilon": float(one["adam_eps"]),
        "weight_decay": float(one["weight_decay"]),
        "max_grad_norm": float(one["clip_grad"]),
        "not_stated": ("bos", "eos"),  # they are in the packed text
        "lrs": lrs(one, question["steps"]),
    }


def model(folder: Path) -> list[str]:
    """The arguments of the architecture: of the packed text, or written beside where the model was at hand."""
    for path in (folder / "data" / "model_args.txt", folder / "model_args.txt"):
        if path.is_file():
            return path.read_text(encoding="utf-8").splitlines()
    return []


def by_name(tokens: list[str]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for token in tokens:
        if token.startswith("--"):
            found[name := token[2:].replace("-", "_")] = []
        else:
            found[name].append(token)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def parsed(checkout: Path, tokens: list[str], architecture: list[str], processes: int) -> dict[str, Any]:
    """All arguments as pretrain_gpt.py reads them, checked where the architecture is known."""
    sys.path.insert(0, str(checkout))
    # This process has imported megatron.core from its package: the checkout's files come first.
    for name in [name for name in sys.modules if name.split(".")[0] == "megatron"]:
        del sys.modules[name]
    os.environ.update(WORLD_SIZE=str(processes), RANK="0", LOCAL_RANK="0", CUDA_DEVICE_MAX_CONNECTIONS="1")
    import torch
    from megatron.training.arguments import parse_args, validate_args

    cuda: Any = torch.cuda  # the check asks which GPU there is: the machine that reads may have none
    cuda.get_device_properties = lambda *device: SimpleNamespace(major=9, minor=0)
    sys.argv = ["pretrain_gpt.py", *architecture, *tokens]
    with redirect_stdout(sys.stderr):
        given = parse_args()
        if architecture:
            validate_args(given, {})
    assert not given.use_checkpoint_args, "--use-checkpoint-args takes the place of what is given here"
    assert given.attention_dropout == given.hidden_dropout == 0, "dropout is on"
    return dict(vars(given))


def lrs(one: dict[str, Any], steps: list[int]) -> list[float]:
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    wsd = one.get("lr_wsd_decay_samples")
    scheduler = OptimizerParamScheduler(
        SimpleNamespace(param_groups=[]),
        init_lr=float(one["lr_warmup_init"]),
        max_lr=float(one["lr"]),
        min_lr=float(one["min_lr"]),
        lr_warmup_steps=int(one["lr_warmup_samples"]),
        lr_decay_steps=int(one["lr_decay_samples"]),
        lr_decay_style=one["lr_decay_style"],
        start_wd=0.0,
        end_wd=0.0,
        wd_incr_steps=1,
        wd_incr_style="constant",
        wsd_decay_steps=int(wsd) if wsd else None,
        lr_wsd_decay_style=one.get("lr_wsd_decay_style"),
    )
    found = []
    for step in steps:
        scheduler.num_steps = step * int(one["global_batch_size"])
        found.append(scheduler.get_lr({}))
    return found
