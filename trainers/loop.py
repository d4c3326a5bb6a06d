"""The training loop and the evaluation: torch, transformers' schedules, and nothing that knows of studies or files.

The loop sees one global batch per step and cuts it into micro-batches whose losses are sums over tokens, divided once
by the tokens of the whole batch. So the gradient does not depend on the micro-batch, and sharding a batch over ranks
is giving each rank its own rows and summing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import get_scheduler

from sweep.recipe import Optimizer, Training

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


def lr_shares(training: Training, steps: int) -> Callable[[int], float]:
    """The LR at each step (from 0) of a run of so many steps, as a share of the peak.

    `steps` may be fewer than the recipe's (a horizon): the warm-up stays as long, the decay is its share of `steps`.
    """
    schedule, warmup = training.schedule, training.warmup_steps
    nothing = torch.optim.SGD([torch.zeros(1)])  # transformers hands out schedules of an optimizer only
    if schedule.name == "wsd":
        decay = min(steps - training.decay_from(steps), steps - warmup)  # each is rounded: together they must fit
        specific = {"num_decay_steps": decay, "min_lr_ratio": schedule.min_lr}
        made = get_scheduler("warmup_stable_decay", nothing, warmup, steps, specific)
    else:
        made = get_scheduler("cosine_with_min_lr", nothing, warmup, steps, {"min_lr_rate": schedule.min_lr})
    share: Callable[[int], float] = made.lr_lambdas[0]
    return share


class Learner:
    """A model in training: its weights, its optimizer and the `step` that it stands at.

    `taken` and `seconds` are of all optimizer steps so far, those of branches included.
    """

    def __init__(self, model: Any, training: Training, lr: float) -> None:
        self.model, self.training, self.lr = model, training, lr
        self.optimizer = make_optimizer(model, training.optimizer, lr)
        self.step, self.taken, self.seconds = 0, 0, 0.0

    def train(
        self, batches: Iterable[torch.Tensor], share: Callable[[int], float], watch: Callable[[Step], bool]
    ) -> Iterator[Step]:
        """Train over `batches`, each (sequences, length) token ids on the model's device; yields every step.

        Stops early when `watch`, which is asked before the step is yielded, returns True. Yielding leaves logging and
        checkpoints to the caller, and what the caller does is not counted in `seconds`.
        """
        self.model.train()
        began = time.perf_counter()
        for batch in batches:
            lr = self.lr * share(self.step)
            loss, norm = self._learn(batch, lr)
            self.step, self.taken = self.step + 1, self.taken + 1
            self.seconds += time.perf_counter() - began
            step = Step(self.step, self.step * batch.numel(), loss, lr, norm, self.seconds)
            stop = watch(step)
            yield step
            if stop:
                return
            began = time.perf_counter()

    def _learn(self, batch: torch.Tensor, lr: float) -> tuple[float, float]:
        """One optimizer step; returns the loss and the norm of its gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = _accumulate(self.model, batch, self.training)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.optimizer.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, float(norm)

    @contextmanager
    def branch(self) -> Iterator[None]:
        """What is trained inside is undone at its end: weights, optimizer, random numbers and `step` are put back.

        Until then they are kept in host memory: 12 bytes per parameter in float32.
        """
        kept, step = copied_to_host([self.model.state_dict(), self.optimizer.state_dict()]), self.step
        device = next(self.model.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
        self.model.load_state_dict(kept[0])
        self.optimizer.load_state_dict(kept[1])
        self.step = step


def copied_to_host(state: Any) -> Any:
    """The same nest of dictionaries and lists with every tensor copied to host memory, also where it lies there."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied_to_host(value) for key, value in state.items()}
    return [copied_to_host(value) for value in state] if isinstance(state, list) else state


def train(
    model: Any, batches: Iterable[torch.Tensor], training: Training, lr: float, watch: Callable[[Step], bool]
) -> Iterator[Step]:
    """One run of the recipe from its first step to its last, as `Learner.train`."""
    return Learner(model, training, lr).train(batches, lr_shares(training, training.steps), watch)


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
