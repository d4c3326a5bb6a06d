"""The launch as a study of one trial: our own trainer trains it, and the verb `pack` packs its text for the others."""

from __future__ import annotations

from typing import Any

from analysis.launch.plan.estimate import checkpoint_minutes
from analysis.launch.plan.launch_plan import LaunchPlan
from sweep.study import Study
from sweep.study.sizes.known import EMBEDDED

HELD_OUT, TIMES = 0.05, 4  # the most of a corpus that is held out, and how often its part holds what is measured
NATIVE = "native"  # the format that trains the study itself


def launch_study(plan: LaunchPlan) -> Study:
    """The study whose grid holds only the winner."""
    of = plan.study
    changed = {
        "name": f"{of.name[:90]}-launch",
        "base_model": _base_model(plan),
        "training": of.training.model_dump(mode="json") | _training(plan),
        "grid": {"almr": [plan.almr], "lr": [plan.lr], "seeds": [plan.seed]},
        "resources": _resources(plan),
        "execution": of.execution.model_dump(mode="json") | _execution(plan),
        "keep": "all",
    }
    same_sources = plan.corpora.source_names() == of.corpora.source_names()  # which the objective names
    include = {"documents", "tracking", *(["objective"] if same_sources else [])}
    kept = of.model_dump(mode="json", by_alias=True, include=include)
    return Study.model_validate(kept | changed | {"corpora": _corpora(plan)})


def launch_recipe(plan: LaunchPlan) -> dict[str, Any]:
    """The launch as a study, for the hash in the name of its checkpoints: as earlier versions wrote it, so that a
    launch which they started resumes: without what came later and changes no weight. A launch has no trainer but its
    format's."""
    later: Any = {"grid": {"max_trials"}, "resources": {"price_per_gpu_hour"}, "tracking": {"optuna"}, "notify": True}
    later |= {"post_training": True}
    if plan.study.training.stage == "cpt":
        later |= {"training": {"stage", "dpo"}, "documents": {"chat_template"}}
    return launch_study(plan).model_dump(mode="json", exclude={"trainer": True} | later)


def _corpora(plan: LaunchPlan) -> dict[str, Any]:
    """The launch's text, without the trials' held-out text and what the study excludes. Of text that the trials did
    not read, our own trainer holds out what it measures, not a fixed part of a corpus of the launch's size.
    """
    found = plan.corpora.model_dump(mode="json", by_alias=True)
    for language, given in found.items():
        for source in given if isinstance(given, list) else [given]:
            if plan.excluded:
                source["exclude"] = list(plan.excluded)
            corpus = plan.sources[source["name"] or language]
            if corpus.own and (corpus.sampled or not corpus.facts):
                source["held_out"] = _held_out(plan, corpus.corpus_tokens)
    return found


def _held_out(plan: LaunchPlan, tokens: float | None) -> float:
    wanted = TIMES * max(plan.study.training.evaluation_tokens, plan.launch.sequence_length)
    return HELD_OUT if tokens is None else min(HELD_OUT, float(f"{wanted / tokens:.3g}"))


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
        "micro_batch_sequences": plan.layout(NATIVE).micro_batch,
        "horizons": [],
        "simulate_epochs": False,
        "evaluate_every": plan.evaluation_steps,
    }


def _execution(plan: LaunchPlan) -> dict[str, Any]:
    """Recomputation as the layout has it, and checkpoints at least every hour."""
    layout = plan.layout(NATIVE)
    counted = {"activation_checkpointing": layout.checkpointing} if layout.parts else {}
    return counted | {"checkpoint_minutes": checkpoint_minutes(plan.study, plan.launch, plan.target)}


def _resources(plan: LaunchPlan) -> dict[str, Any]:
    launch, of = plan.launch, plan.study.resources
    gpu = {"gpu": launch.gpu, "gpu_gigabytes": launch.gpu_gigabytes}
    shared = {"nodes": launch.nodes, "gpus_per_node": launch.gpus_per_node, **gpu}
    return shared if launch.gpus_per_node else shared | {"cpus": of.cpus}
