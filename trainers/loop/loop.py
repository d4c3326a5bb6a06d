"""The training loop and the evaluation: torch, transformers' schedules, and nothing that knows of studies or files.

The loop sees its worker's rows of one global batch per step and cuts them into micro-batches whose losses are sums over
tokens, divided once by the predicted tokens of the whole batch. So the gradient depends neither on the micro-batch nor
on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import get_scheduler

from sweep.study.sections.training import Training
from trainers.loop.optimizer import make_optimizer, set_lr
from trainers.loop.out_of_memory import Halved, forget, halve
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE, WorkerGroup

EVALUATION_SEQUENCES = 16  # at once, on any device: evaluation holds no activations
EVALUATION_TOKENS = 65536  # nor more tokens than these


@dataclass(frozen=True)
class StepMetrics:
    """What one optimizer step was like. `loss` is nats per token on its batch; `seconds` of all steps so far."""

    step: int
    tokens: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


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

    `taken` and `seconds` are of all optimizer steps so far, those of branches included. `micro` is how many sequences
    this worker takes at once, None for all of its own; out of memory halves it. `beat` is called after every step.
    """

    def __init__(
        self,
        model: Any,
        training: Training,
        lr: float,
        loss: TokenLoss | None = None,
        gang: WorkerGroup = ALONE,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.model, self.training, self.lr, self.gang, self.beat = model, training, lr, gang, beat
        self.loss = loss or TokenLoss(model)
        self.micro = training.micro_batch_sequences
        self.optimizer = make_optimizer(model, training.optimizer, lr)
        self.step, self.taken, self.seconds = 0, 0, 0.0

    def train(
        self, batches: Iterable[torch.Tensor], share: Callable[[int], float], watch: Callable[[StepMetrics], bool]
    ) -> Iterator[StepMetrics]:
        """Train over `batches`, each this worker's (sequences, length) token ids on its device; yields every step.

        Stops early when `watch`, which is asked before the step is yielded, returns True. Yielding leaves logging and
        checkpoints to the caller, and what the caller does is not counted in `seconds`. Raises Halved where a sharded
        model has to start again with a smaller micro-batch.
        """
        self.model.train()
        began = time.perf_counter()
        for batch in batches:
            lr = self.lr * share(self.step)
            loss, norm = self._learn(batch, lr)
            self.step, self.taken = self.step + 1, self.taken + 1
            self.seconds += time.perf_counter() - began
            self.beat()
            step = StepMetrics(self.step, self.step * batch.numel() * self.gang.size, loss, lr, norm, self.seconds)
            stop = watch(step)
            yield step
            if stop:
                return
            began = time.perf_counter()

    def _learn(self, batch: torch.Tensor, lr: float) -> tuple[float, float]:
        """One optimizer step; returns the loss and the norm of its gradient, both of the whole global batch."""
        set_lr(self.optimizer, lr)
        loss = self._accumulate(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.optimizer.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _accumulate(self, batch: torch.Tensor) -> float:
        """Back-propagate the mean loss of a global batch, micro-batch by micro-batch; returns that mean."""
        [predicted] = self.gang.sum(self.loss.predicted(batch))
        while True:
            try:
                [total] = self.gang.sum(self._backward(batch, predicted))
                return total
            except torch.OutOfMemoryError:
                self.micro = halve(self.micro or len(batch), len(batch))
            # Out of the handler: what it holds of the failed pass would not be freed inside.
            if self.gang.sharded:
                raise Halved(self.micro)
            self._forget()

    def _backward(self, batch: torch.Tensor, predicted: float) -> float:
        """This worker's share of the mean loss. Gradients are averaged over a gang, so its losses are scaled up."""
        losses = []
        for micro in torch.split(batch, self.micro or len(batch)):
            loss = self.loss.sum(micro) / predicted
            (loss * self.gang.size if self.gang.size > 1 else loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return sum(loss.item() for loss in losses)  # not before: each would wait for the GPU

    def _forget(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        forget()

    @contextmanager
    def branch(self) -> Iterator[None]:
        """What is trained inside is undone at its end: weights, optimizer, random numbers and `step` are put back.

        Until then they are kept in host memory: 12 bytes per parameter in float32, of a gang each worker its own part.
        """
        weights, moments = copied_to_host(self.model.state_dict()), copied_to_host(self._state())
        step, lrs, device = self.step, [group["lr"] for group in self.optimizer.param_groups], self.gang.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
        _put_back(self.model.state_dict(), weights)
        if moments:
            _put_back(self._state(), moments)
        else:
            self.optimizer.state.clear()
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self.step = step

    def _state(self) -> list[dict[str, Any]]:
        return [
            self.optimizer.state[p]
            for group in self.optimizer.param_groups
            for p in group["params"]
            if p in self.optimizer.state
        ]


def copied_to_host(state: Any) -> Any:
    """The same nest of dictionaries and lists with every tensor copied to host memory, also where it lies there. Of
    what is sharded, this worker's part.
    """
    if isinstance(state, torch.Tensor):
        return _local(state.detach()).to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied_to_host(value) for key, value in state.items()}
    return [copied_to_host(value) for value in state] if isinstance(state, list) else state


@torch.no_grad()
def _put_back(state: Any, kept: Any) -> None:
    """Copy what `copied_to_host` kept of a state into it again."""
    if isinstance(state, torch.Tensor):
        _local(state).copy_(kept)
    elif isinstance(state, dict | list):
        for key in state if isinstance(state, dict) else range(len(state)):
            _put_back(state[key], kept[key])


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def reshard(model: torch.nn.Module) -> None:
    """FSDP2 frees what it gathered when the backward pass is over, and whoever only evaluates has none: until then the
    model's parameters are the gathered ones, which an optimizer must not be given.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def train(
    model: Any, batches: Iterable[torch.Tensor], training: Training, lr: float, watch: Callable[[StepMetrics], bool]
) -> Iterator[StepMetrics]:
    """One run of the recipe from its first step to its last, as `Learner.train`."""
    return Learner(model, training, lr).train(batches, lr_shares(training, training.steps), watch)


@torch.no_grad()
def evaluate(
    loss: TokenLoss, tokens: torch.Tensor, gang: WorkerGroup = ALONE, beat: Callable[[], None] = lambda: None
) -> float:
    """Mean loss in nats per predicted token over all workers' `tokens` together, shape (sequences, length).

    Every worker gives all tokens and takes its share of them, as many passes each: a sharded model is used in step.
    """
    own = tokens[gang.rank :: gang.size]
    most = -(-len(tokens) // gang.size)
    padded = torch.cat([own, tokens[: most - len(own)]])
    training = loss.model.training
    loss.model.eval()
    total, at = 0.0, min(EVALUATION_SEQUENCES, max(1, EVALUATION_TOKENS // tokens.shape[1]))
    for first in range(0, most, at):
        beat()
        total += loss.sum(padded[first : first + at], counted=max(0, len(own) - first)).item()
    loss.model.train(training)
    reshard(loss.model)
    total, predicted = gang.sum(total, loss.predicted(own))
    return total / predicted
