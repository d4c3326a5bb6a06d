"""TRL's DPO trainer on a trial's pairs: in their order, with the optimizer, LR schedule and precision of the study."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study import Study
from trainers.loop.optimizer import make_optimizer
from trainers.preference.held_out import Example
from trainers.workers.group import WorkerGroup

LOSS = "sigmoid"  # the loss of Rafailov et al.: with another one, the base model's would not be ln 2


@dataclass(frozen=True)
class TrainerSetting:
    """What a trainer is made from. `pairs`: of one optimizer step; `at_once`: of one forward pass, a divisor of it."""

    study: Study
    lr: float
    seed: int
    pairs: int
    at_once: int
    workers: WorkerGroup
    scratch: Path


class PreferenceTrainer:
    """A model under TRL's `DPOTrainer`, held to a copy of itself as it was."""

    def __init__(
        self, setting: TrainerSetting, model: Any, tokenizer: Any, drawn: Any, listen: Callable[[dict[str, Any]], bool]
    ) -> None:
        """`drawn`: the table of the trial's pairs, in order. `listen` is told what TRL logs of each optimizer step, and
        the training ends after the step where it returns True.
        """
        import torch
        from transformers import PrinterCallback

        self.setting, self.model = setting, model
        reference = copy.deepcopy(model).requires_grad_(False).eval()
        training = setting.study.training
        optimizer = make_optimizer(model, training.optimizer, setting.lr)
        share = training.lr_schedule(training.steps).share
        last = training.steps - 1
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(min(step, last)))
        self.trl = _trainer_class()(
            model=model,
            ref_model=reference,
            args=_arguments(setting),
            train_dataset=drawn,
            processing_class=tokenizer,
            callbacks=[_listener(listen, setting.workers)],
            optimizers=(optimizer, schedule),
        )
        self.trl.remove_callback(PrinterCallback)  # `metrics.jsonl` has what it prints

    def train(self) -> None:
        """To the study's number of steps, or until the listener ends it. Raises what torch raises out of memory."""
        self.trl.train()

    def log_probs(self, pairs: Sequence[Example]) -> NDArray[np.float64]:
        """The log-probabilities of chosen and rejected answers under the model as it is now, in nats: (pairs, 2)."""
        found = []
        training = self.model.training
        self.model.eval()
        try:
            for first in range(0, len(pairs), self.setting.at_once):
                self.setting.workers.heartbeat()
                batch = self.trl.data_collator(list(pairs[first : first + self.setting.at_once]))
                batch = {name: values.to(self.setting.workers.device) for name, values in batch.items()}
                both = self.trl.compute_ref_log_probs(self.model, batch)
                found.append(np.stack([part.double().cpu().numpy() for part in both], axis=1))
        finally:
            self.model.train(training)
        return np.concatenate(found)


def _arguments(setting: TrainerSetting) -> Any:
    from trl.trainer.dpo_config import DPOConfig

    training, gpu = setting.study.training, setting.workers.device.type == "cuda"
    assert training.dpo
    return DPOConfig(
        output_dir=str(setting.scratch),
        per_device_train_batch_size=setting.at_once,
        gradient_accumulation_steps=setting.pairs // setting.at_once,
        max_steps=training.steps,
        learning_rate=setting.lr,
        max_grad_norm=training.optimizer.max_grad_norm,
        beta=training.dpo.beta,
        loss_type=[LOSS],
        max_length=None,  # longer pairs are left out when they are prepared
        seed=setting.seed,
        bf16=training.precision == "bfloat16",
        use_cpu=not gpu,
        gradient_checkpointing=False,  # `execution.activation_checkpointing` is set on the model
        dataloader_pin_memory=gpu,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is not finite is a divergence
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
        log_level="error",
    )


def _trainer_class() -> Any:
    from torch.utils.data import SequentialSampler
    from trl.trainer.dpo_trainer import DPOTrainer

    class InOrder(DPOTrainer):
        """Takes pairs that are token ids already, one after another."""

        def _prepare_dataset(self, dataset: Any, *rest: Any, **more: Any) -> Any:
            return dataset

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            rows: Any = self.train_dataset if train_dataset is None else train_dataset
            return SequentialSampler(rows)

    return InOrder


def _listener(listen: Callable[[dict[str, Any]], bool], workers: WorkerGroup) -> Any:
    from transformers import TrainerCallback

    class Listener(TrainerCallback):
        """Hears each step that is logged; shows that the trial goes on."""

        def on_substep_end(self, *state: Any, **more: Any) -> None:
            workers.heartbeat()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> Any:
            workers.heartbeat()
            if "loss" in (logs or {}) and listen({"step": state.global_step} | logs):
                control.should_training_stop = True
            return control

    return Listener()
