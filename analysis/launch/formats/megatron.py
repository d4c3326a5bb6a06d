"""Megatron-LM (core 0.16): megatron_args.txt, with one argument per line, and pretrain.py, which starts its trainer.

The architecture is in model_args.txt, from the config.json of the model, and so is nothing of a checkpoint's arguments
(--use-checkpoint-args would put its own rotary base and dropout in the place of those given). prepare.sh writes it into
the packed text's folder, with the weights as a checkpoint; it stands here as well where the config.json is at hand.

Facts of Megatron behind this: the weights of --data-path are shares of tokens (of samples of equal length), must be
over 0, and are silently ignored in a list of odd length; steps are counted in samples. Sets that are evaluated one by
one take no weights. Without Transformer Engine's layers it keeps documents apart by a mask of L x L; with them, the
mask is ignored (core/extensions/transformer_engine.py: the attention is causal whatever the mask).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from analysis.launch.formats import packed_text
from analysis.launch.formats.format import TEMPLATES, checkpoints_folder, differences, head, ratio_lines
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import InputError
from sweep.study.files import disk
from sweep.study.sizes.megatron_model import architecture

NAME = "megatron"
TRAINER = "Megatron-LM (core 0.16)"
ARGUMENTS, MODEL = "megatron_args.txt", "model_args.txt"
TRAIN, HELD_OUT = "train_{}", "held_out_{}"  # in the folder of the packed text, as are base and model
PRETRAIN = "pretrain.py"
LONGEST_MASK = 4096  # tokens of a sequence whose scores, of L x L for each head, Megatron's own attention may hold


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings.

    Raises InputError for a model that Megatron cannot express, and for documents that it would not keep apart.
    """
    _refuse(plan)
    disk.written(folder / ARGUMENTS, _lines(arguments(plan)))
    if config := _config(plan):
        disk.written(folder / MODEL, _lines(architecture(config, plan.launch.sequence_length)))
    shutil.copyfile(TEMPLATES / "megatron_pretrain.txt", folder / PRETRAIN)
    packed_text.write(plan, folder, NAME)
    return warnings(plan)


def _lines(given: list[list[str]]) -> str:
    return "".join(f"{part}\n" for argument in given for part in argument)


def _config(plan: LaunchPlan) -> dict[str, object] | None:
    """The model's config.json, where the study names a folder that is here."""
    path = Path(plan.launch.model) / "config.json"
    if not path.is_file():
        return None
    config: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _refuse(plan: LaunchPlan) -> None:
    """Raises InputError where Megatron would train rows or see tokens that the trials did not."""
    shape, tensor = plan.target.shape, plan.layout(NAME).tensor
    if shape and shape.vocab_size % tensor:
        raise InputError(
            f"launch.tensor_parallel: {tensor} GPUs cannot share a vocabulary of {shape.vocab_size:,} evenly, and "
            f"Megatron-LM trains the rows that it adds: write 1, or a degree that divides it"
        )
    if not masked(plan):
        return
    length = plan.launch.sequence_length
    if length > LONGEST_MASK:
        raise InputError(
            f"launch.formats: megatron: with training.document_masking it must hold scores of {length:,} x {length:,} "
            f"tokens, since its fast attention lets documents see each other, which changes their losses: choose "
            f"torchtitan, llamafactory, axolotl or native"
        )
    if not plan.eos:
        raise InputError(
            "launch.formats: megatron: with training.document_masking it tells documents apart by end-of-text, which "
            "documents.eos: false leaves out: choose another format"
        )


def masked(plan: LaunchPlan) -> bool:
    return plan.study.training.document_masking


def blend(plan: LaunchPlan) -> list[str]:
    """--train-data-path: weight and prefix of each corpus with a share above 0, so that the length is even."""
    return [text for source in plan.used for text in (repr(source.share), _packed(plan, TRAIN.format(source.name)))]


def _packed(plan: LaunchPlan, name: str) -> str:
    return f"{plan.data}/{name}"


def arguments(plan: LaunchPlan) -> list[list[str]]:
    """Each argument with its values, but for those of the architecture."""
    parts = [_batch(plan), _learning_rate(plan), _optimizer(plan), _precision(plan), _parallelism(plan), _data(plan)]
    pairs = [[f"--{name}", *map(str, values)] for part in parts for name, *values in part]
    saved = checkpoints_folder(plan, NAME, [plan.launch.model, *pairs])
    return [*pairs, *([f"--{name}", *map(str, values)] for name, *values in _checkpoints(plan, saved))]


Arguments = list[tuple[object, ...]]


def _batch(plan: LaunchPlan) -> Arguments:
    launch = plan.launch
    return [
        ("seq-length", launch.sequence_length),
        ("max-position-embeddings", launch.sequence_length),
        ("micro-batch-size", plan.layout(NAME).micro_batch),
        ("global-batch-size", launch.batch_sequences),
        ("train-samples", plan.steps * launch.batch_sequences),
        ("seed", plan.seed + 1),  # must be over 0
    ]


def _learning_rate(plan: LaunchPlan) -> Arguments:
    """The LR and its schedule, in samples."""
    each, wanted = plan.launch.batch_sequences, plan.schedule
    shared: Arguments = [
        ("lr", repr(plan.lr)),
        ("min-lr", repr(plan.min_lr)),
        ("lr-warmup-init", repr(plan.lr * wanted.begin)),
        ("lr-warmup-samples", wanted.warmup * each),
    ]
    if wanted.min_lr == 1:
        return [*shared, ("lr-decay-samples", plan.steps * each), ("lr-decay-style", "constant")]
    # Its LR is that of the samples before a step: the last step is one step before the last sample.
    shared.append(("lr-decay-samples", (plan.steps - 1) * each))
    if len(wanted.peak) == 1:
        return [*shared, ("lr-decay-style", "cosine")]
    wsd: Arguments = [("lr-wsd-decay-style", "cosine"), ("lr-wsd-decay-samples", wanted.decay * each)]
    return [*shared, ("lr-decay-style", "WSD"), *wsd]


def _optimizer(plan: LaunchPlan) -> Arguments:
    recipe = plan.study.training.optimizer
    return [
        ("optimizer", "adam"),
        ("adam-beta1", recipe.beta1),
        ("adam-beta2", recipe.beta2),
        ("adam-eps", recipe.epsilon),
        ("weight-decay", recipe.weight_decay),
        ("clip-grad", recipe.max_grad_norm),
        ("attention-dropout", 0.0),
        ("hidden-dropout", 0.0),
    ]


# Without Transformer Engine: its own layers, with what neither Apex nor a compiler is needed for.
LOCAL: Arguments = [
    ("transformer-impl", "local"),
    ("no-gradient-accumulation-fusion",),
    ("no-masked-softmax-fusion",),
    ("no-persist-layer-norm",),
    ("attention-softmax-in-fp32",),
]
ON_CPU: Arguments = [
    ("use-cpu-initialization",),
    ("distributed-backend", "gloo"),
    ("no-bias-swiglu-fusion",),
    ("no-rope-fusion",),
    ("no-bias-dropout-fusion",),
    ("no-async-tensor-model-parallel-allreduce",),
    ("num-workers", 0),
]


def _precision(plan: LaunchPlan) -> Arguments:
    """Of the products; gradients are summed, and the optimizer has its weights, in float32."""
    found: Arguments = [("bf16",)] if plan.precision == "bfloat16" else []
    found += [("accumulate-allreduce-grads-in-fp32",)] if plan.launch.gpus_per_node else []
    found += LOCAL if local(plan) else [("transformer-impl", "transformer_engine")]
    return found if plan.launch.gpus_per_node else found + ON_CPU


def local(plan: LaunchPlan) -> bool:
    """Whether Megatron computes in its own layers: for the mask of documents, and where there is no GPU."""
    return masked(plan) or not plan.launch.gpus_per_node


def _parallelism(plan: LaunchPlan) -> Arguments:
    layout = plan.layout(NAME)
    found: Arguments = [
        ("tensor-model-parallel-size", layout.tensor),
        ("pipeline-model-parallel-size", layout.pipeline),
        ("context-parallel-size", layout.context),
    ]
    if not plan.launch.gpus_per_node:
        return found
    found += [("use-distributed-optimizer",), ("overlap-grad-reduce",), ("overlap-param-gather",)]
    if layout.tensor > 1 and not local(plan):  # torch's RMSNorm knows no sequence parallelism
        found.append(("sequence-parallel",))
    if layout.checkpointing == "selective":
        found.append(("recompute-activations",))
    if layout.checkpointing == "full":
        found += [("recompute-granularity", "full"), ("recompute-method", "uniform"), ("recompute-num-layers", 1)]
    return found


def _data(plan: LaunchPlan) -> Arguments:
    held_out = [_packed(plan, HELD_OUT.format(name)) for name in plan.held_out_sets]
    found: Arguments = [
        ("tokenizer-type", "HuggingFaceTokenizer"),
        ("tokenizer-model", _packed(plan, "model")),
        ("train-data-path", *blend(plan)),
        ("valid-data-path", *held_out),
        ("multiple-validation-sets",),
        ("full-validation",),
        ("eval-interval", plan.evaluation_steps),
    ]
    if not masked(plan):
        return [*found, ("no-create-attention-mask-in-dataloader",)]
    # Losses are averaged over the batch: micro-batches have different numbers of targets.
    mask = ("reset-position-ids", "reset-attention-mask", "eod-mask-loss", "calculate-per-token-loss")
    return [*found, *((name,) for name in mask)]


def _checkpoints(plan: LaunchPlan, folder: str) -> Arguments:
    return [
        ("use-mcore-models",),
        ("pretrained-checkpoint", _packed(plan, "base")),
        ("load", folder),
        ("save", folder),
        ("save-interval", plan.checkpoint_steps),
        *([] if plan.launch.checkpoints and not plan.newest_only else [("save-retain-interval", _after_the_end(plan))]),
        ("ckpt-format", "torch_dist"),
        ("tensorboard-dir", f"{folder}/tensorboard"),
        ("tensorboard-log-interval", plan.study.training.log_every),
        ("log-interval", plan.study.training.log_every),
        ("data-cache-path", _packed(plan, "cache")),
        ("distributed-timeout-minutes", 60),
    ]


def _after_the_end(plan: LaunchPlan) -> int:
    """A multiple of the interval that no step reaches: Megatron keeps only the newest checkpoint, and its multiples."""
    return plan.checkpoint_steps * (plan.steps // plan.checkpoint_steps + 1)


def warnings(plan: LaunchPlan) -> list[str]:
    layout, length = plan.layout(NAME), plan.launch.sequence_length
    found = differences(plan, "Megatron-LM", used=("tensor", "pipeline", "context"))
    if not _config(plan):
        found.append(
            "Megatron-LM: the model's config.json is not here, so whether Megatron can express the model is seen by "
            "prepare.sh"
        )
    if masked(plan) and plan.launch.gpus_per_node:
        found.append(
            f"Megatron-LM keeps documents apart only in its own attention, not in Transformer Engine's: it holds "
            f"scores of {length:,} x {length:,} tokens for each head, and is several times slower"
        )
    if length % (2 * layout.context * layout.tensor):
        found.append("Megatron-LM: the sequence length is not a multiple of 2 x context x tensor parallelism")
    return found


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, f", and so are the weights of --train-data-path: {blend(plan)}.")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="Megatron-LM",
        settings=ARGUMENTS,
        usage="MEGATRON: its checkout, by default ~/Megatron-LM. "
        f"Arguments override {ARGUMENTS}: start.sh --log-interval 1",
        check=_check(plan),
        about=head(plan, TRAINER, ratio(plan), NAME),
        run=f"mapfile -t arguments < {ARGUMENTS}\n"
        f"mapfile -t architecture < {_packed(plan, MODEL)}\n"
        "export CUDA_DEVICE_MAX_CONNECTIONS=1\n"
        + TORCHRUN
        + f'{PRETRAIN} "${{architecture[@]}}" "${{arguments[@]}}" \\\n'
        '    --tensorboard-dir "$checkpoints/tensorboard" --load "$checkpoints" --save "$checkpoints" "$@"',
        install="git clone --branch core_v0.16.1 https://github.com/NVIDIA/Megatron-LM ~/Megatron-LM && "
        "pip install 'megatron-core[mlm,dev]==0.16.1'",
        prepare=packed_text.script(plan),
        checkpoints=next(Path(values[0]).name for name, *values in arguments(plan) if name == "--save"),
    )


def _check(plan: LaunchPlan) -> str:
    lines = [
        'export MEGATRON="${MEGATRON:-${HOME:-}/Megatron-LM}"',
        '[[ -f "$MEGATRON/pretrain_gpt.py" ]] ||',
        '    fail "$MEGATRON is not a checkout of Megatron-LM: set MEGATRON to its folder"',
        packed_text.check(plan).rstrip(),
    ]
    if _config(plan):
        lines += [
            f"cmp -s {MODEL} {_packed(plan, MODEL)} ||",
            f'    fail "{MODEL} is of another model than {plan.data}: delete {plan.data} and run prepare.sh"',
        ]
    return "\n".join(lines)
