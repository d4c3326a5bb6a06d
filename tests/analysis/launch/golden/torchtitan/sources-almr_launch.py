# NOT TRIED: no parity run shows that this trainer trains as the trials did (almr export RUN --parity)
# Continual pre-training of meta-llama/Meta-Llama-3-70B with torchtitan 0.3.
# Ratio and LR are from the study llama3-8b-zh: see ../evidence.json. Run start.sh on every node.
#
# Warnings:
# - training tokens: 1,000,000,000 in a trial, 10,000,000,000 in the launch (10 x)
# - global batch in tokens: 1,048,576 in a trial, 4,194,304 in the launch (4 x)
# - sequence length: 4,096 in a trial, 8,192 in the launch (2 x)
# - 2,384 whole steps are 9,999,220,736 tokens: 779,264 fewer than launch.tokens, 10,000,000,000
#
# Ratio: ALMR 0.40 is a share of tokens, and so is a source's weight: sequences are packed first.
# Drawn at random: the achieved ALMR differs by about 0.005 (one standard deviation).
#
# GPUs: 128 data x 1 tensor x 1 pipeline x 1 context = 128 (16 nodes x 8)
# Batch: 128 copies x 1 sequences x 4 accumulated x 8,192 tokens = 4,194,304 tokens
# Activation checkpointing: full
# Memory, weights, gradients, optimizer: 16 bytes x 70,553,706,496 parameters / 128 GPUs = 8.8 GB
# Memory, gathered: 2 bytes x (2 x embeddings + 3 x a layer of 855,654,400) / 1 = 13.5 GB
# Memory, activations: 8,192 tokens x (80 layers x 16,384 bytes + 528,648) = 15.1 GB
# Memory, logits: 12 bytes x 128,256 words x 8,192 = 12.6 GB
# Memory of one GPU, in all: 50.0 GB of 72.0 GB usable
# Steps: 2,384 x 4,194,304 tokens = 9,999,220,736 tokens (779,264 fewer than launch.tokens, 10,000,000,000)

import json
import os
from dataclasses import dataclass
from functools import cache, partial

import launch_text
from datasets import load_dataset
from lr_schedule import LrSchedule
from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer, ParamGroupConfig
from torchtitan.components.tokenizer import HuggingFaceTokenizer
from torchtitan.components.validate import Validator
from torchtitan.config import ParallelismConfig, TrainingConfig
from torchtitan.config.configs import DebugConfig
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.hf_datasets import DatasetConfig
from torchtitan.hf_datasets.text_datasets import DATASETS, HFDataSource, InterleavedHuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.models.common.rope import RoPE
from torchtitan.models.llama3 import model_registry
from torchtitan.trainer import Trainer

MODEL = os.path.abspath(os.environ.get("ALMR_MODEL", 'meta-llama/Meta-Llama-3-70B'))
FLAVOR = os.environ.get("ALMR_FLAVOR", '70B')
SOURCES = {'web': {'load': {'path': 'json', 'data_files': ['/data/web.jsonl'], 'split': 'train'},
         'field': 'text',
         'near_copies': True},
 'code': {'load': {'path': 'parquet', 'data_files': ['/data/code.parquet'], 'split': 'train'},
          'field': 'content',
          'near_copies': True},
 'news': {'load': {'path': 'some/news', 'split': 'train'}, 'field': 'text', 'near_copies': True},
 'books': {'load': {'path': 'json', 'data_files': ['/data/books.jsonl'], 'split': 'train'},
           'field': 'text',
           'near_copies': True}}
WEIGHTS = {'web': 0.36, 'code': 0.24, 'news': 0.30000000000000004, 'books': 0.1}
HELD_OUT = {}
BOS, EOS = False, True  # whether the trials' documents began and ended with them
SEED = 3
BUFFER = 10_000  # documents in the shuffle buffer
COMPARED = 100  # documents that are compared with the held-out text together
detector = cache(launch_text.detector)


def stream(name, load, field, near_copies, seed):
    """Documents; those to train on (with a seed) are shuffled, without what repeats held-out text."""
    documents = load_dataset(**load, streaming=True)
    if seed is None:
        return documents
    unseen = launch_text.Unseen(name, detector(), near_copies)

    def keep(texts):
        left_out = unseen.left_out
        found = unseen.keep(texts)
        if unseen.left_out.bit_length() > left_out.bit_length():  # told at 1, 2, 4, ... of them
            print(unseen.told(), flush=True)
        return found

    kept = documents.filter(keep, input_columns=[field], batched=True, batch_size=COMPARED)
    return kept.shuffle(seed=seed, buffer_size=BUFFER)


def text_of(sample, field):
    return sample[field]


def register(kind, sources, seed):
    for name, source in sources.items():
        DATASETS[kind + name] = DatasetConfig(
            path=kind + name,
            loader=partial(stream, **source, seed=seed),
            sample_processor=partial(text_of, field=source["field"]),
        )


register("almr_", SOURCES, SEED)
register("almr_held_out_", HELD_OUT, None)


def mixed(kind, weights, infinite):
    sources = [HFDataSource(dataset=kind + name, weight=weight, infinite=infinite) for name, weight in weights.items()]
    return InterleavedHuggingFaceTextDataLoader.Config(sources=sources, seed=SEED)


def adamw(pattern, weight_decay):
    arguments = {"lr": 2e-05, "betas": (0.9, 0.95), "eps": 1e-08, "weight_decay": weight_decay}
    return ParamGroupConfig(pattern=pattern, optimizer_name="AdamW", optimizer_kwargs=arguments)


class DocumentTokenizer(HuggingFaceTokenizer):
    """Reads documents as the trials did: special strings in them are text, and BOS and EOS are the study's."""

    @dataclass(kw_only=True, slots=True)
    class Config(HuggingFaceTokenizer.Config):
        pass

    def __init__(self, config=None, *, tokenizer_path):
        super().__init__(config, tokenizer_path=tokenizer_path)
        self.tokenizer.encode_special_tokens = True

    def encode(self, text, add_bos=BOS, add_eos=EOS):
        if BOS:
            return super().encode(text, add_bos=add_bos, add_eos=add_eos and EOS)
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids, self.eos_id] if add_eos and EOS else ids


class Schedule(LRSchedulersContainer):
    """The trials' schedule, step by step. torchtitan's own stays at the peak for a step after the warm-up."""

    @dataclass(kw_only=True, slots=True)
    class Config(LRSchedulersContainer.Config):
        decay_steps: int

        def build(self, *, optimizers, training_steps):
            made = LrSchedule(self.total_steps, self.warmup_steps, self.decay_steps, self.min_lr_factor)
            return Schedule(optimizers, made.share)


def model():
    if FLAVOR is None:
        raise SystemExit("set ALMR_FLAVOR to the name of this model in torchtitan.models.llama3 (8B, 70B, ...)")
    spec = model_registry(FLAVOR)
    config = os.path.join(MODEL, "config.json")
    scaled = True
    if os.path.exists(config):
        with open(config, encoding="utf-8") as file:
            known = json.load(file)
        scaled = (known.get("rope_scaling") or known.get("rope_parameters") or {}).get("rope_type") == "llama3"
    if not scaled:  # torchtitan's models are Llama 3.1; Llama 3 has no rope scaling
        for _, rope, _, _ in spec.model.traverse(RoPE.Config):
            rope.scaling = "none"
    return spec


def launch() -> Trainer.Config:
    spec = model()
    loss = CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))
    validator = Validator.Config(enable=bool(HELD_OUT), freq=120, steps=64)
    if HELD_OUT:
        validator.dataloader = mixed("almr_held_out_", dict.fromkeys(HELD_OUT, 1.0), True)
    return Trainer.Config(
        model_spec=spec,
        loss=ChunkedLossWrapper.Config(loss_fn=loss),
        hf_assets_path=MODEL,
        tokenizer=DocumentTokenizer.Config(),
        dump_folder=os.path.join(os.environ.get("ALMR_CHECKPOINTS") or '../..', 'checkpoints-llama3-8b-zh-torchtitan-28384b98'),
        optimizer=OptimizersContainer.Config(
            param_groups=[adamw(r".*norm.*", 0.0), adamw(r".*", 0.1)],
        ),
        lr_scheduler=Schedule.Config(
            total_steps=2384,
            warmup_steps=238,
            decay_steps=2145,
            min_lr_factor=0.1,
        ),
        training=TrainingConfig(
            local_batch_size=1,
            global_batch_size=512,
            seq_len=8192,
            max_norm=1.0,
            steps=2384,
        ),
        parallelism=ParallelismConfig(
            tensor_parallel_degree=1,
            context_parallel_degree=1,
        ),
        activation_checkpoint=FullAC.Config() if True else SelectiveAC.Config(),
        dataloader=mixed("almr_", WEIGHTS, True),
        validator=validator,
        metrics=MetricsProcessor.Config(log_freq=10, enable_tensorboard=True),
        checkpoint=CheckpointManager.Config(
            enable=True,
            interval=239,
            keep_latest_k=0,
            initial_load_path=MODEL,
            initial_load_in_hf=True,
            last_save_in_hf=True,
        ),
        debug=DebugConfig(seed=SEED),
    )
