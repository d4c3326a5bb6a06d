"""A trainer that takes flags, as many do: a plain loop of torch. flags.sh starts it."""

import argparse
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
for name in ("model", "rows", "lrs", "out", "precision"):
    parser.add_argument(f"--{name}", required=True)
for name in ("sequence-length", "batch", "micro-batch"):
    parser.add_argument(f"--{name}", type=int, required=True)
for name in ("epsilon", "weight-decay", "max-grad-norm"):
    parser.add_argument(f"--{name}", type=float, required=True)
parser.add_argument("--betas", type=float, nargs=2, required=True)
own = parser.parse_args()

device = "cuda" if torch.cuda.is_available() else "cpu"
model = AutoModelForCausalLM.from_pretrained(own.model, dtype=torch.float32).to(device).train()
groups = [
    {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": own.weight_decay},
    {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, betas=tuple(own.betas), eps=own.epsilon)
rows = np.memmap(own.rows, "<u4", "r").reshape(-1, own.batch, own.sequence_length)
lrs = [float(line) for line in Path(own.lrs).read_text().split()]
for step, (lr, batch) in enumerate(zip(lrs, rows, strict=True), 1):
    for group in optimizer.param_groups:
        group["lr"] = lr
    total = 0.0
    for part in torch.from_numpy(batch.astype("int64")).to(device).split(own.micro_batch):
        with torch.autocast(device, torch.bfloat16, enabled=own.precision == "bfloat16"):
            loss = model(input_ids=part, labels=part).loss * len(part) / own.batch
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), own.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step} of {len(lrs)}: loss {total:.4f}, LR {lr:.3g}", flush=True)
model.save_pretrained(own.out)
