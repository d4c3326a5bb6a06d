"""The ways to train a model that are compared, with random weights and tokens: the trials' own loop, as
`trainers.model.loading` fits a model to its device, and `transformers.Trainer` with its best options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sweep.study.sections.recipe.training import Training
from sweep.study.sections.resources import Execution
from sweep.study.sizes.shape import Shape
from trainers.loop.learner import Learner
from trainers.model import fitting, output_layer
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import WorkerGroup

WARM_UP_STEPS = 2  # the first compiles, the second allocates


@dataclass(frozen=True)
class Work:
    """A model of this shape, trained `steps` steps of `sequences` x `length` tokens, `micro` sequences at once."""

    shape: Shape
    length: int
    sequences: int
    micro: int
    steps: int
    moments: str
    execution: Execution

    @property
    def tokens(self) -> int:
        return self.sequences * self.length

    def training(self, precision: str) -> Training:
        return Training.model_validate(
            {
                "sequence_length": self.length,
                "tokens": self.steps * self.tokens,
                "global_batch_tokens": self.tokens,
                "micro_batch_sequences": self.micro,
                "precision": precision,
                "optimizer": {"state": self.moments},
            }
        )


def made(work: Work, device: torch.device) -> Any:
    """A model with random weights in float32 on the device."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    fields = work.shape.model_dump(exclude={"model_type"}, exclude_none=True)
    config = LlamaConfig(**fields, max_position_embeddings=work.length, use_cache=False)
    torch.manual_seed(0)
    with device:
        return AutoModelForCausalLM.from_config(config, attn_implementation=work.execution.attention)


@contextmanager
def worker(device: torch.device) -> Iterator[WorkerGroup]:
    """A single worker as `trainers.workers.group` opens it: on a GPU with a process group of its own."""
    if device.type == "cpu":
        yield WorkerGroup(0, 1, device)
        return
    torch.cuda.set_device(device)
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("nccl", store=store, rank=0, world_size=1, device_id=device)
    try:
        yield WorkerGroup(0, 1, device, sharded=True)
    finally:
        distributed.destroy_process_group()


def learner(work: Work, workers: WorkerGroup, at: Callable[[str], None] = lambda moment: None) -> Learner:
    """Our own loop's learner. `at("loaded")` is called when the weights are in place."""
    precision = "bfloat16" if workers.sharded else "float32"
    model = made(work, workers.device)
    fitting.checkpoint_activations(model, work.execution)
    output_layer.fuse(model, work.execution, workers.device)
    if workers.sharded:
        fitting.shard(model, precision, workers)
        fitting.set_communication(model, work.execution, workers)
    at("loaded")
    if work.execution.compile:
        fitting.compile_layers(model)
    return Learner(TokenLoss(model), work.training(precision), 1e-4, workers)


def ours(work: Work, device: torch.device) -> list[float]:
    """Seconds of each step after the warm-up."""
    with worker(device) as workers:
        stepped = learner(work, workers).train(batches(work, device), lambda step: 1.0, lambda step: False)
        ends = [step.seconds for step in stepped]
    return [b - a for a, b in pairwise(ends[WARM_UP_STEPS - 1 :])]


def batches(work: Work, device: torch.device) -> Iterator[torch.Tensor]:
    torch.manual_seed(0)
    for _ in range(work.steps):
        yield torch.randint(work.shape.vocab_size, (work.sequences, work.length), device=device)


def trainer(work: Work, device: torch.device, folder: Path, kernels: bool) -> list[float]:
    """The rival at its best: bfloat16, Liger's `kernels`, fused AdamW (8-bit: torchao's), the same micro-batch."""
    from transformers import Trainer, TrainingArguments

    from tests.support.step_clock import StepClock

    gpu = device.type == "cuda"
    clock = StepClock(gpu)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=work.steps,
        per_device_train_batch_size=work.micro,
        gradient_accumulation_steps=work.sequences // work.micro,
        gradient_checkpointing=work.execution.activation_checkpointing != "none",
        gradient_checkpointing_kwargs={"use_reentrant": False},
        torch_compile=work.execution.compile,
        optim="adamw_torch_8bit" if work.moments == "int8" else "adamw_torch_fused",
        bf16=gpu,
        use_liger_kernel=kernels,
        use_cpu=not gpu,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    rows = torch.cat(list(batches(work, torch.device("cpu"))))
    examples: Any = [{"input_ids": row, "labels": row} for row in rows]
    Trainer(model=made(work, device), args=arguments, train_dataset=examples, callbacks=[clock]).train()
    return [b - a for a, b in pairwise(clock.ends[WARM_UP_STEPS - 1 :])]
