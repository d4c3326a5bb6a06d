"""axolotl 0.19: axolotl.yaml, and mix_documents.py, which writes the mixed text that it trains on.

Facts of axolotl 0.19 behind this: it has no ratio between corpora, so the text is mixed before; unknown keys are
silently ignored; sample packing joins whole documents and pads, so a step holds somewhat fewer tokens than its length.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from analysis.launch.formats import documents, trainer_arguments
from analysis.launch.formats.format import (
    DEEPSPEED,
    TEMPLATES,
    checkpoints_folder,
    differences,
    head,
    ratio_lines,
    write_json,
)
from analysis.launch.formats.trainer_arguments import Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import TORCHRUN, Command

NAME = "axolotl"
TRAINER = "axolotl 0.19"
MIXED = "data/mixed.jsonl"


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    documents.refuse_no_eos(plan, "axolotl")
    text = yaml.safe_dump(settings(plan), sort_keys=False, allow_unicode=True, width=10**6)
    (folder / "axolotl.yaml").write_text(head(plan, TRAINER, ratio(plan), NAME) + text, encoding="utf-8")
    write_json(folder / "mixture.json", mixture(plan, folder))
    documents.write_scripts(plan, folder, "mix_documents")
    shutil.copyfile(TEMPLATES / DEEPSPEED, folder / DEEPSPEED)
    return warnings(plan)


def mixture(plan: LaunchPlan, folder: Path) -> Settings:
    """mixture.json: the tokens of each corpus in the mixed text."""
    wanted = {name: round(share * plan.tokens) for name, share in plan.shares.items()}
    sources = documents.sources(plan, folder)
    return {
        **documents.tokenizer(plan),
        "seed": plan.seed,
        "sources": {name: source | {"tokens": wanted[name]} for name, source in sources.items()},
    }


def settings(plan: LaunchPlan) -> Settings:
    parts = _model(plan) | _data(plan) | _steps(plan)
    parts |= trainer_arguments.learning_rate(plan, "lr_scheduler") | trainer_arguments.optimizer(plan, "optimizer")
    saved = {"save_steps": plan.checkpoint_steps, "save_total_limit": plan.kept_checkpoints}
    return parts | {"output_dir": checkpoints_folder(plan, NAME, parts), **saved, "auto_resume_from_checkpoints": True}


def _model(plan: LaunchPlan) -> Settings:
    return {
        "base_model": plan.launch.model,
        "trust_remote_code": plan.study.base_model.trust_remote_code,
        "bf16": True,
        "gradient_checkpointing": True,
        "deepspeed": DEEPSPEED,
    }


def _data(plan: LaunchPlan) -> Settings:
    found: Settings = {
        "datasets": [_completion(MIXED)],
        "dataset_prepared_path": "data/prepared",
        "sequence_len": plan.launch.sequence_length,
        "sample_packing": True,
        "pad_to_sequence_len": True,
    }
    if plan.evaluation_files:
        held_out = [_completion(file) | {"split": "train"} for file in plan.evaluation_files.values()]
        found |= {"test_datasets": held_out, "eval_steps": plan.evaluation_steps, "eval_sample_packing": True}
    else:
        found["val_set_size"] = 0
    return found


def _completion(path: str) -> Settings:
    return {"path": path, "ds_type": "json", "type": "completion", "field": "text"}


def _steps(plan: LaunchPlan) -> Settings:
    layout = plan.layout(NAME)
    return {
        "max_steps": plan.steps,
        "num_epochs": 1,
        "micro_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation(plan.launch),
        "logging_steps": plan.study.training.log_every,
        "seed": plan.seed,
    }


def warnings(plan: LaunchPlan) -> list[str]:
    found = ["axolotl packs whole documents and pads, so its steps hold somewhat fewer tokens than planned"]
    found += [*differences(plan, "axolotl"), *trainer_arguments.warnings(plan, NAME, "axolotl")]
    found += documents.special_strings(plan, "axolotl")
    if plan.evaluation_files:
        found.append("axolotl has one evaluation loss, over all held-out texts together")
    return found


def ratio(plan: LaunchPlan) -> list[str]:
    wanted = " and ".join(f"{round(s.share * plan.tokens):,} tokens of {plan.label(s)}" for s in plan.used)
    return ratio_lines(plan, f"; mix_documents.py writes {MIXED} with {wanted}, counted with the tokenizer.")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="axolotl",
        settings="axolotl.yaml",
        usage="Arguments override axolotl.yaml: start.sh --max-steps 10",
        check="command -v axolotl > /dev/null ||\n"
        "    fail \"axolotl is not on PATH: pip install 'axolotl[deepspeed]==0.19.0', or activate its environment\"\n"
        f"[[ -f {MIXED} ]] ||\n"
        f'    fail "{MIXED} is missing: run python mix_documents.py once, in this folder"',
        run=TORCHRUN + '-m axolotl.cli.train axolotl.yaml --output-dir "$checkpoints" "$@"',
        install="pip install 'axolotl[deepspeed]==0.19.0' && python mix_documents.py",
        checkpoints=Path(settings(plan)["output_dir"]).name,
    )
