# NOT TRIED: no parity run shows that this trainer trains as the trials did (almr export RUN --parity)
# Continual pre-training of meta-llama/Meta-Llama-3-70B with torchtitan 0.3.
# Ratio and LR are from the study llama3-8b-zh. Run start.sh on every node.
# Read ../GO.md and the warnings in ../README.md first.
#
# Ratio: ALMR 0.40 is a share of tokens, met in the packed blocks: of the first n, round(n x ALMR) are of the language.
# Steps: 2,384 x 4,194,304 tokens = 9,999,220,736 tokens (779,264 fewer than launch.tokens, 10,000,000,000)

import json
import math
import os
import sys

import almr_model
import torch
from almr_trainer import BlocksLoader, HeldOutLosses, LaunchTrainer, TrialsSchedule
from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.components.optimizer import OptimizersContainer, ParamGroupConfig
from torchtitan.config import ParallelismConfig, TrainingConfig
from torchtitan.config.configs import CommConfig, DebugConfig
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.models.common.config_utils import decoder_vocab_size

MODEL = os.path.abspath(os.environ.get("ALMR_MODEL", 'meta-llama/Meta-Llama-3-70B'))
DATA = os.path.abspath('data')  # prepare.sh writes it
SEED = 3
STEPS, BATCH, LENGTH = 2384, 512, 8192
CHECKPOINTING = {"none": None, "selective": SelectiveAC.Config(), "full": FullAC.Config()}


def blocks():
    """What the data are: blocks.json, or nothing before prepare.sh has run."""
    try:
        with open(os.path.join(DATA, "blocks.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def loader(made, file):
    before, after = made.get("before") or [None], made.get("after") or [None]
    return BlocksLoader.Config(
        file=os.path.join(DATA, file), before=before[0], after=after[-1], masked=made.get("document_masking", False)
    )


def adamw(pattern, weight_decay):
    arguments = {"lr": 2e-05, "betas": (0.9, 0.95), "eps": 1e-08, "weight_decay": weight_decay}
    return ParamGroupConfig(pattern=pattern, optimizer_name="AdamW", optimizer_kwargs=arguments)


def launch() -> LaunchTrainer.Config:
    spec, made = almr_model.spec(MODEL), blocks()
    files = {name: os.path.join(DATA, f"held_out_{name}.bin") for name in made.get("held_out", {})}
    # The logits are computed in parts, which divide a GPU's part of a sequence.
    loss = ChunkedLossWrapper.Config(
        num_chunks=math.gcd(8, LENGTH // 1),
        loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec)),
    )
    return LaunchTrainer.Config(
        model_spec=spec,
        loss=loss,
        hf_assets_path=MODEL,
        dump_folder=os.path.join(os.environ.get("ALMR_CHECKPOINTS") or '../..', 'checkpoints-llama3-8b-zh-torchtitan-1bf72f98'),
        optimizer=OptimizersContainer.Config(
            param_groups=[adamw(r".*norm.*", 0.0), adamw(r".*", 0.1)],
        ),
        lr_scheduler=TrialsSchedule.Config(
            total_steps=STEPS,
            warmup_steps=238,
            decay_steps=2145,
            min_lr_factor=0.1,
        ),
        training=TrainingConfig(
            local_batch_size=1,
            global_batch_size=BATCH,
            seq_len=LENGTH,
            max_norm=1.0,
            steps=STEPS,
            dtype="float32",  # weights, their gradients and the optimizer's state
            mixed_precision_param='bfloat16',
            mixed_precision_reduce="float32",
            disable_cuda_graphs=True,  # not tried with the document mask, which differs in each step
        ),
        parallelism=ParallelismConfig(
            tensor_parallel_degree=4,
            context_parallel_degree=1,
            context_parallel_load_balancer="ptrr",  # the one for FlexAttention
            spmd_backend="partial_dtensor",  # the default, spmd_types, does not shard with torch 2.13
        ),
        activation_checkpoint=CHECKPOINTING['selective'],
        dataloader=loader(made, "train.bin"),
        validator=HeldOutLosses.Config(
            enable=bool(files), freq=120, last=STEPS, dataloader=loader(made, ""), files=files
        ),
        metrics=MetricsProcessor.Config(log_freq=10, enable_tensorboard=True),
        checkpoint=CheckpointManager.Config(
            enable=True,
            interval=239,
            keep_latest_k=10,
            initial_load_path=MODEL,
            initial_load_in_hf=True,
            last_save_in_hf=True,
            export_dtype='bfloat16',
        ),
        comm=CommConfig(train_timeout_seconds=1800),  # others wait for the rank that writes the model
        debug=DebugConfig(seed=SEED),
    )


def problem():
    """Why the launch cannot start here, or None."""
    if not hasattr(torch.distributed, "set_timeout"):
        return (
            f"torch {torch.__version__} has no torch.distributed.set_timeout, which torchtitan 0.3 calls after step 1: "
            f"pip install 'torch>=2.14.1'"
        )
    if not os.path.exists(os.path.join(MODEL, "config.json")):
        return f"{MODEL} has no config.json: download the model and set ALMR_MODEL to its folder"
    if found := almr_model.fault(almr_model.read(MODEL)):
        return f"{MODEL}/config.json: {found}, which torchtitan's Llama does not have: use another format"
    made = blocks()
    if not made:
        return f"{DATA} has no blocks.json: run prepare.sh first"
    if made["sequence_length"] != LENGTH or made["rows"] < STEPS * BATCH:
        return (
            f"{DATA} has {made['rows']:,} sequences of {made['sequence_length']:,} tokens, the launch reads "
            f"{STEPS * BATCH:,} of {LENGTH:,}: run prepare.sh again"
        )
    return None


if __name__ == "__main__":  # start.sh asks before it starts the launch
    if found := problem():
        sys.exit(f"start.sh: {found}")
