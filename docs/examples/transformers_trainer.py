"""Trains one trial with the Trainer of transformers: python transformers_trainer.py REQUEST

On several GPUs: torchrun --nproc-per-node=N transformers_trainer.py REQUEST
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

asked = json.loads(Path(sys.argv[1]).read_text())
assert not asked["document_masking"], "this example does not keep documents apart"
rows = np.fromfile(asked["rows"], "<u4").reshape(-1, asked["sequence_length"]).astype("int64")
model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32)
own, batch_rows, micro = asked["optimizer"], asked["batch_sequences"], asked["micro_batch_sequences"]
matrices = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": own["weight_decay"]}]
others = [{"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(matrices + others, asked["lr"], (own["beta1"], own["beta2"]), own["epsilon"])
lrs = [*asked["lr_by_step"], asked["lr_by_step"][-1]]  # a scheduler also asks for the step after the last
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lrs[step] / asked["lr"])


def batch(rows: list[np.ndarray]) -> dict[str, torch.Tensor]:
    tokens = torch.from_numpy(np.stack(rows))
    labels = tokens.clone()
    labels[:, 0] = -100  # the first token of a row is not predicted, nor counted
    return {"input_ids": tokens, "labels": labels}


arguments = TrainingArguments(
    output_dir=asked["checkpoints"],
    max_steps=asked["steps"],
    per_device_train_batch_size=micro,
    gradient_accumulation_steps=batch_rows // micro // int(os.environ.get("WORLD_SIZE", "1")),
    max_grad_norm=own["max_grad_norm"],
    train_sampling_strategy="sequential",
    bf16=asked["precision"] == "bfloat16",
    use_cpu=not asked["gpus_per_node"],
    seed=asked["seed"],
    save_steps=max(1, asked["steps"] // 2),
    logging_steps=1,
    report_to="none",
    disable_tqdm=True,
    remove_unused_columns=False,
)
trainer = Trainer(model, arguments, batch, rows, optimizers=(optimizer, schedule))
saved = sorted(Path(asked["checkpoints"]).glob("*/trainer_state.json"), key=lambda file: file.stat().st_mtime)
done = trainer.train(resume_from_checkpoint=str(saved[-1].parent) if saved else None)
trainer.save_model(asked["folder"] + "/model")
steps = trainer.state.global_step
languages = [source["language"] for source in asked["sources"]]
read = [languages[number] for number in np.fromfile(asked["row_sources"], "u1")[: steps * batch_rows]]
answer = {
    "trainer": f"transformers {transformers.__version__}",
    "steps": steps,
    "tokens": {name: read.count(name) * asked["sequence_length"] for name in ("original", "additional")},
    "model": asked["folder"] + "/model",
    "training_seconds": None if saved else done.metrics["train_runtime"],
    "peak_memory_bytes": torch.cuda.max_memory_allocated() if asked["gpus_per_node"] else None,
    "log": [
        {"step": line["step"], "loss": line["loss"], "lr": line["learning_rate"], "grad_norm": line["grad_norm"]}
        for line in trainer.state.log_history
        if "loss" in line
    ],
}
if trainer.is_world_process_zero():
    Path(asked["answer"]).write_text(json.dumps(answer))
