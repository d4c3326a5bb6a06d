"""Prints how far the logits of Megatron's GPT are from those of transformers, for a model that was converted.

    python megatron_logits.py MODEL PACKED: the Hugging Face folder; the folder with model_args.txt and base

Runs in the trainer's environment, with cpu/megatron and the checkout of Megatron-LM on PYTHONPATH.
"""

import json
import sys
from functools import partial
from pathlib import Path

import torch
import transformers
from gpt_builders import gpt_builder
from megatron.core.enums import ModelType
from megatron.training.checkpointing import load_checkpoint
from megatron.training.initialize import initialize_megatron
from megatron.training.training import get_model
from model_provider import model_provider

LENGTH = 64
GIVEN = f"""--seq-length {LENGTH} --max-position-embeddings {LENGTH} --micro-batch-size 1 --global-batch-size 1
--train-samples 1 --lr 1e-3 --eval-interval 1 --transformer-impl local --use-cpu-initialization
--distributed-backend gloo --no-gradient-accumulation-fusion --no-masked-softmax-fusion --no-persist-layer-norm
--no-bias-swiglu-fusion --no-rope-fusion --no-bias-dropout-fusion --attention-dropout 0 --hidden-dropout 0
--tokenizer-type NullTokenizer --vocab-size 128 --finetune --ckpt-format torch_dist""".split()
model, packed = map(Path, sys.argv[1:])
sys.argv[1:] = [*GIVEN, *(packed / "model_args.txt").read_text().split(), "--load", str(packed / "base")]
initialize_megatron()
[converted] = get_model(partial(model_provider, gpt_builder), ModelType.encoder_or_decoder, wrap_with_ddp=False)
load_checkpoint([converted], None, None)
original = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
tokens = torch.randint(0, original.config.vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    own = converted.eval()(tokens, torch.arange(LENGTH)[None], None)
    wanted = original(tokens).logits
print(json.dumps({"difference": (own - wanted).abs().max().item(), "spread": wanted.std().item()}))
