"""The training loop: one global batch per optimizer step. It knows torch and the recipe, no study and no file.

A worker receives its rows of each global batch and cuts them into micro-batches. Their losses are sums over tokens,
divided once by the number of predicted tokens of the whole batch, so that the gradient depends neither on the size of
the micro-batch nor on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from sweep.study.sections.recipe.training import Training
from trainers.loop.optimizer import local_part, make_optimizer, set_lr
from trainers.loop.out_of_memory import MicroBatch, free_memory
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE, WorkerGroup


@dataclass(frozen=True)
class StepMetrics:
    """Measurements of one optimizer step. `loss` is in nats per token of its batch; `seconds` is the training time of
    all steps so far; `tokens` counts those of the run up to and with this step.
    """

    step: int
    tokens: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


class Learner:
    """A model in training: weights, optimizer, and `step`, the number of optimizer steps that its weights are from.

    `steps_taken` and `seconds` count all optimizer steps so far, also those of branches. `micro_batch` is halved when
    memory runs out.
    """

    def __init__(
        self,
        loss: TokenLoss,
        training: Training,
        lr: float,
        workers: WorkerGroup = ALONE,
        micro_batch: MicroBatch | None = None,
    ) -> None:
        self.model, self.loss, self.training, self.lr, self.workers = loss.model, loss, training, lr, workers
        self.micro_batch = micro_batch or MicroBatch(training.micro_batch_sequences)
        self.optimizer = make_optimizer(self.model, training.optimizer, lr)
        self.step, self.steps_taken, self.seconds = 0, 0, 0.0

    def train(
        self, batches: Iterable[torch.Tensor], share: Callable[[int], float], watch: Callable[[StepMetrics], bool]
    ) -> Iterator[StepMetrics]:
        """Train over `batches`, each this worker's token ids (sequences, length) or rows of conversations, on its
        device; yields every step.

        `share` is the LR at a step as a share of the peak. `watch` is called before a step is yielded, and the training
        ends after that step where it returns True. What the caller does between steps (logging, checkpoints) is not
        counted in `seconds`. Raises MicroBatchHalvedError where a sharded model ran out of memory.
        """
        self.model.train()
        began = time.perf_counter()
        for batch in batches:
            lr = self.lr * share(self.step)
            loss, norm = self._learn(batch, lr)
            self.step, self.steps_taken = self.step + 1, self.steps_taken + 1
            self.seconds += time.perf_counter() - began
            self.workers.heartbeat()
            step = StepMetrics(
                step=self.step,
                tokens=self.step * batch.shape[0] * batch.shape[1] * self.workers.size,
                loss=loss,
                lr=lr,
                grad_norm=norm,
                seconds=self.seconds,
            )
            stop = watch(step)
            yield step
            if stop:
                return
            began = time.perf_counter()

    def _learn(self, batch: torch.Tensor, lr: float) -> tuple[float, float]:
        """Take one optimizer step; returns the loss and the gradient's norm, both of the whole global batch."""
        set_lr(self.optimizer, lr)
        loss = self._accumulate(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.optimizer.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _accumulate(self, batch: torch.Tensor) -> float:
        """Back-propagate the mean loss of a global batch, micro-batch by micro-batch; returns that mean."""
        predicted = max(1.0, *self.workers.sum(self.loss.predicted(batch)))  # a batch of conversations may have none
        while True:
            try:
                [total] = self.workers.sum(self._backward(batch, predicted))
                return total
            except torch.OutOfMemoryError:
                pass
            # Outside of the handler: the exception holds the tensors of the failed pass.
            self.micro_batch.halve(self.micro_batch.of(len(batch)), len(batch), self.workers.sharded)
            self.optimizer.zero_grad(set_to_none=True)
            free_memory()

    def _backward(self, batch: torch.Tensor, predicted: float) -> float:
        """This worker's share of the mean loss. FSDP2 averages gradients over the workers, so losses are scaled up."""
        losses = []
        for micro in torch.split(batch, self.micro_batch.of(len(batch))):
            loss = self.loss.sum(micro) / predicted
            (loss * self.workers.size if self.workers.size > 1 else loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return sum(loss.item() for loss in losses)  # after the loop, since each waits for the GPU

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Undo at the end whatever is trained inside: weights, optimizer, random numbers and `step` are restored.

        Until then they are copied to host memory: 12 bytes per parameter in float32, each worker its own part.
        """
        weights, moments = copied_to_host(self.model.state_dict()), copied_to_host(self._state())
        step, lrs, device = self.step, [group["lr"] for group in self.optimizer.param_groups], self.workers.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
        _restore(self.model.state_dict(), weights)
        if moments:
            _restore(self._state(), moments)
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
    """A copy of nested dictionaries and lists, with tensors in host memory; of sharded ones this worker's part."""
    if isinstance(state, torch.Tensor):
        return local_part(state.detach()).to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied_to_host(value) for key, value in state.items()}
    return [copied_to_host(value) for value in state] if isinstance(state, list) else state


@torch.no_grad()
def _restore(state: Any, copy: Any) -> None:
    """Write a copy that `copied_to_host` made back into the state."""
    if isinstance(state, torch.Tensor):
        local_part(state).copy_(copy)
    elif isinstance(state, dict | list):
        for key in state if isinstance(state, dict) else range(len(state)):
            _restore(state[key], copy[key])


def train(
    model: Any, batches: Iterable[torch.Tensor], training: Training, lr: float, watch: Callable[[StepMetrics], bool]
) -> Iterator[StepMetrics]:
    """Train a model by the whole recipe, from its first step to its last, as `Learner.train`."""
    return Learner(TokenLoss(model), training, lr).train(batches, training.lr_schedule(training.steps).share, watch)
