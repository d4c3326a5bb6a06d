"""The product's own trainer: study.yaml, a study whose only trial is the launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.launch.formats.format import checkpoints_name, head, ratio_lines, unused
from analysis.launch.plan import predicted_losses
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import Study, study_file
from sweep.study.sizes.known import EMBEDDED

NAME = "native"
TRAINER = "almr's own trainer"


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write study.yaml into the folder; returns warnings."""
    text = head(plan, TRAINER, ratio(plan), NAME) + study_file.dump(study(plan))
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    if plan.predicted and plan.predicted.is_for(plan.almr, plan.lr, plan.tokens):
        predicted = plan.predicted.model_dump_json(indent=2)
        (folder / predicted_losses.NAME).write_text(f"{predicted}\n", encoding="utf-8")
    plan.held_out.copy(folder)
    return warnings(plan)


def study(plan: LaunchPlan) -> Study:
    """The launch as a study; its grid holds only the winner."""
    of = plan.study
    changed = {
        "name": f"{of.name[:90]}-launch",
        "base_model": _base_model(plan),
        "training": of.training.model_dump(mode="json") | _training(plan),
        "grid": {"almr": [plan.almr], "lr": [plan.lr], "seeds": [plan.seed]},
        "resources": _resources(plan),
        "keep": "all",
    }
    include = {"corpora", "documents", "objective", "execution", "tracking"}
    kept = of.model_dump(mode="json", by_alias=True, include=include)
    if plan.excluded:
        for given in kept["corpora"].values():
            for source in given if isinstance(given, list) else [given]:
                source["exclude"] = list(plan.excluded)
    return Study.model_validate(kept | changed)


def _base_model(plan: LaunchPlan) -> dict[str, Any]:
    of = plan.study.base_model
    if plan.launch.model in EMBEDDED:
        return {"embedded": plan.launch.model, "tokenizer": of.tokenizer, "new_rows": of.new_rows}
    revision = of.revision if plan.launch.model == of.pretrained else None
    vocabulary = {"tokenizer": of.tokenizer, "new_rows": of.new_rows}
    return {
        "pretrained": plan.launch.model,
        "revision": revision,
        "trust_remote_code": of.trust_remote_code,
    } | vocabulary


def _training(plan: LaunchPlan) -> dict[str, Any]:
    return {
        "sequence_length": plan.launch.sequence_length,
        "tokens": plan.launch.tokens,
        "global_batch_tokens": plan.launch.global_batch_tokens,
        "micro_batch_sequences": plan.layout(NAME).micro_batch,
        "horizons": [],
        "evaluate_every": plan.evaluation_steps,
    }


def _resources(plan: LaunchPlan) -> dict[str, Any]:
    launch, of = plan.launch, plan.study.resources
    gpu = {"gpu": launch.gpu, "gpu_gigabytes": launch.gpu_gigabytes}
    shared = {"nodes": launch.nodes, "gpus_per_node": launch.gpus_per_node, **gpu}
    return shared if launch.gpus_per_node else shared | {"cpus": of.cpus}


def warnings(plan: LaunchPlan) -> list[str]:
    found = unused(plan, NAME)
    if plan.launch.evaluation:
        found.append("native measures the loss on the held-out part of each corpus, not on launch.evaluation")
    return found


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, ", met exactly: of the first n sequences, round(n x ALMR).")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="almr's own trainer",
        settings="study.yaml",
        usage="Its record and log are written beside the checkpoints. It takes no arguments.",
        check='python -c "import sweep, torch" 2> /dev/null ||\n'
        '    fail "almr-sweep is not installed here: pip install almr-sweep, or activate its environment"',
        run=TORCHRUN + '-m sweep.worker.launch_run study.yaml "$checkpoints"',
        install="pip install almr-sweep",
        checkpoints=checkpoints_name(plan, NAME, study(plan).model_dump(mode="json")),
    )
