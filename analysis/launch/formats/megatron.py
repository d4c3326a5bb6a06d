"""Megatron-LM (core 0.16): megatron_args.txt, with one argument per line, and prepare.sh, which prepares its data.

Facts of Megatron behind this: the weights of --data-path are shares of tokens (of samples of equal length), must be
over 0, and are silently ignored in a list of odd length; steps are counted in samples; the architecture is read from
the converted checkpoint (--use-checkpoint-args). Sets that are evaluated one by one take no weights.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from analysis.launch.formats import documents
from analysis.launch.formats.format import TEMPLATES, checkpoints_folder, differences, ratio_lines, write_json
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import InputError

NAME = "megatron"
TRAINER = "Megatron-LM (core 0.16)"
ARGUMENTS = "megatron_args.txt"
PREFIX = "{}_text_document"  # preprocess_data.py adds this to --output-prefix
BASE = "base"  # the folder of the converted base model


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    if not plan.launch.model.isprintable():
        raise InputError(
            f"launch.model {plan.launch.model!r}: megatron_args.txt has one argument per line: rename the model"
        )
    lines = [token for argument in arguments(plan) for token in argument]
    (folder / ARGUMENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "corpora.json", documents.content(plan, folder))
    documents.write_scripts(plan, folder, "write_jsonl")
    script = folder / "prepare.sh"
    script.write_text(prepare_script(plan), encoding="utf-8")
    script.chmod(0o755)
    return warnings(plan)


def blend(plan: LaunchPlan) -> list[str]:
    """--data-path: weight and prefix of each corpus with a share above 0, so that the length is even."""
    return [text for source in plan.used for text in (repr(source.share), f"data/{PREFIX.format(source.name)}")]


def arguments(plan: LaunchPlan) -> list[list[str]]:
    """Each argument with its values."""
    parts = [_batch(plan), _learning_rate(plan), _optimizer(plan), _parallelism(plan), _data(plan)]
    pairs = [[f"--{name}", *map(str, values)] for part in parts for name, *values in part]
    saved = checkpoints_folder(plan, NAME, pairs)
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
        ("bf16",),
    ]


def _parallelism(plan: LaunchPlan) -> Arguments:
    layout = plan.layout(NAME)
    found: Arguments = [
        ("tensor-model-parallel-size", layout.tensor),
        ("pipeline-model-parallel-size", layout.pipeline),
        ("context-parallel-size", layout.context),
        ("use-distributed-optimizer",),
        ("overlap-grad-reduce",),
        ("overlap-param-gather",),
    ]
    if layout.tensor > 1:
        found.append(("sequence-parallel",))
    if layout.checkpointing == "selective":
        found.append(("recompute-activations",))
    if layout.checkpointing == "full":
        found += [("recompute-granularity", "full"), ("recompute-method", "uniform"), ("recompute-num-layers", 1)]
    return found


def _data(plan: LaunchPlan) -> Arguments:
    found: Arguments = [("tokenizer-type", "HuggingFaceTokenizer"), ("tokenizer-model", plan.launch.model)]
    if plan.study.training.document_masking:
        found += [("reset-position-ids",), ("reset-attention-mask",)]
    if not plan.evaluation_files:
        return [*found, ("data-path", *blend(plan)), ("split", "100,0,0"), ("eval-iters", 0)]
    held_out = [f"data/{PREFIX.format(documents.HELD_OUT.format(name))}" for name in plan.evaluation_files]
    return [
        *found,
        ("train-data-path", *blend(plan)),
        ("valid-data-path", *held_out),
        ("multiple-validation-sets",),
        ("full-validation",),
        ("eval-interval", plan.evaluation_steps),
    ]


def _checkpoints(plan: LaunchPlan, folder: str) -> Arguments:
    return [
        ("use-mcore-models",),
        ("use-checkpoint-args",),
        ("pretrained-checkpoint", BASE),
        ("load", folder),
        ("save", folder),
        ("save-interval", plan.checkpoint_steps),
        *([] if plan.launch.checkpoints else [("save-retain-interval", _after_the_end(plan))]),
        ("log-interval", plan.study.training.log_every),
        ("data-cache-path", "data/cache"),
        ("distributed-timeout-minutes", 60),
    ]


def _after_the_end(plan: LaunchPlan) -> int:
    """A multiple of the interval that no step reaches: Megatron keeps only the newest checkpoint, and its multiples."""
    return plan.checkpoint_steps * (plan.steps // plan.checkpoint_steps + 1)


def warnings(plan: LaunchPlan) -> list[str]:
    found = [
        "Megatron-LM: run prepare.sh once before the start. --verify reads only --data-path and the schedule with "
        "Megatron's own parser; its other arguments are not read back",
        *differences(plan, "Megatron-LM", used=("tensor", "pipeline", "context")),
        *documents.special_strings(plan, "Megatron-LM"),
    ]
    if plan.launch.sequence_length % (2 * plan.layout(NAME).context * plan.layout(NAME).tensor):
        found.append("Megatron-LM: the sequence length is not a multiple of 2 x context x tensor parallelism")
    return found


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, f", and so are the weights of --data-path: {blend(plan)}.")


def prepare_script(plan: LaunchPlan) -> str:
    layout, names = plan.layout(NAME), plan.shares
    sets = [*names, *map(documents.HELD_OUT.format, plan.evaluation_files)]
    head = [
        "#!/usr/bin/env bash",
        "# Prepares the data and the base checkpoint. Run it once, on one machine that sees this folder. MEGATRON: the",
        "# checkout of Megatron-LM, by default ~/Megatron-LM; ALMR_MODEL: the folder of the model.",
        "set -euo pipefail",
        "",
        f"readonly model={shlex.quote(plan.launch.model)}",
        f"readonly sets=({' '.join(sets)})",
        f"readonly append=({'--append-eod' if plan.eos else ''})",
        f"readonly tensor={layout.tensor}",
        f"readonly pipeline={layout.pipeline}",
    ]
    return "\n".join(head) + "\n" + (TEMPLATES / "megatron_prepare.sh").read_text(encoding="utf-8")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="Megatron-LM",
        settings=ARGUMENTS,
        usage="MEGATRON: its checkout, by default ~/Megatron-LM. "
        f"Arguments override {ARGUMENTS}: start.sh --log-interval 1",
        check='MEGATRON="${MEGATRON:-${HOME:-}/Megatron-LM}"\n'
        '[[ -f "$MEGATRON/pretrain_gpt.py" ]] ||\n'
        '    fail "$MEGATRON is not a checkout of Megatron-LM: set MEGATRON to its folder"\n'
        "[[ -d base ]] ||\n"
        '    fail "the data and the base checkpoint are missing: run prepare.sh once"',
        run=f"mapfile -t arguments < {ARGUMENTS}\n"
        "export CUDA_DEVICE_MAX_CONNECTIONS=1\n" + TORCHRUN + '"$MEGATRON/pretrain_gpt.py" "${arguments[@]}" \\\n'
        '    --load "$checkpoints" --save "$checkpoints" "$@"',
        install="git clone --branch core_v0.16.1 https://github.com/NVIDIA/Megatron-LM ~/Megatron-LM && "
        "pip install 'megatron-core[mlm,dev]==0.16.1'",
        checkpoints=next(Path(values[0]).name for name, *values in arguments(plan) if name == "--save"),
        variables={"ALMR_MODEL": plan.launch.model},
    )
