"""The training loop and the evaluation: torch, transformers' schedules, and nothing that knows of studies or files.

The loop sees one global batch per step and cuts it into micro-batches whose losses are sums over tokens, divided once
by the tokens of the whole batch. So the gradient does not depend on the micro-batch, and sharding a batch over ranks
is giving each rank its own rows and summing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import get_scheduler

from sweep.recipe import Optimizer, Schedule, Training

EVALUATION_SEQUENCES = 16  # at once, on any device: evaluation holds no activations


@dataclass(frozen=True)
class Step:
    """What one optimizer step was like. `loss` is nats per token on its batch; `seconds` of all steps so far."""

    step: int
    tokens: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


def make_optimizer(model: torch.nn.Module, recipe: Optimizer, lr: float) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, as the models that we continue from were trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.epsilon, fused=True)


def make_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int) -> Any:
    warmup = round(schedule.warmup * steps)
    if schedule.name == "wsd":
        decay = min(round(schedule.decay * steps), steps - warmup)  # each is rounded: together they must fit
        specific = {"num_decay_steps": decay, "min_lr_ratio": schedule.min_lr}
        return get_scheduler("warmup_stable_decay", optimizer, warmup, steps, specific)
    return get_scheduler("cosine_with_min_lr", optimizer, warmup, steps, {"min_lr_rate": schedule.min_lr})


def train(
    model: Any, batches: Iterable[torch.Tensor], training: Training, lr: float, watch: Callable[[Step], bool]
) -> Iterator[Step]:
    """Train over `batches`, each a (sequences, length) tensor of token ids on the model's device; yields every step.

    Stops early when `watch` returns True. Yielding leaves logging and checkpoints to the caller.
    """
    optimizer = make_optimizer(model, training.optimizer, lr)
    schedule = make_schedule(optimizer, training.schedule, training.steps)
    seconds, began = 0.0, time.perf_counter()
    model.train()
    for index, batch in enumerate(batches):
        loss = _accumulate(model, batch, training)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.optimizer.max_grad_norm)
        used_lr = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = (index + 1) * batch.numel()
        seconds += time.perf_counter() - began
        step = Step(index + 1, tokens, loss, used_lr, float(norm), seconds)
        yield step
        if watch(step):
            return
        began = time.perf_counter()


def _accumulate(model: Any, batch: torch.Tensor, training: Training) -> float:
    """Back-propagate the mean loss of a global batch, micro-batch by micro-batch; returns that mean."""
    predicted = batch.shape[0] * (batch.shape[1] - 1)
    total = 0.0
    for micro in torch.split(batch, training.micro_batch_sequences or len(batch)):
        loss = _loss_sum(model, micro, training.precision) / predicted
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _loss_sum(model: Any, tokens: torch.Tensor, precision: str) -> torch.Tensor:
    """Summed cross-entropy (nats) of every token but each sequence's first; tokens (sequences, length)."""
    bfloat16 = torch.autocast(tokens.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with bfloat16:
        logits = model(input_ids=tokens).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="sum")


@torch.no_grad()
def evaluate(model: Any, tokens: torch.Tensor, precision: str) -> float:
    """Mean loss in nats per predicted token over `tokens`, shape (sequences, length)."""
    training = model.training
    model.eval()
    total = sum(_loss_sum(model, part, precision).item() for part in torch.split(tokens, EVALUATION_SEQUENCES))
    model.train(training)
    return total / (tokens.shape[0] * (tokens.shape[1] - 1))
