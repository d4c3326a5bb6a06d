"""Checks that a cluster is ready for a study: all checks for `almr plan --check`, the quick ones before `almr run`."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.external import outlook
from sweep.external.runs import start
from sweep.planning.plan import StudyPlan
from sweep.preflight import checks, probe
from sweep.preflight.checks import CheckResult, NodeReport
from sweep.preflight.inputs import inputs
from sweep.preflight.probe import Inspect
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study, preparation
from sweep.study.files import cache
from sweep.trials.followers.notify import notifier
from trainers.benchmarks import catalogue, definitions
from trainers.preference import requirements as preference
from trainers.tracking import packages as tracking

SAME_EVERYWHERE = ("ray", "torch", "transformers", "datasets")


@dataclass(frozen=True)
class Requirements:
    """What every node must have: `shared` folders and other `paths`, by name, and `packages`. `sandbox`: the
    study's choice of one for code that a model writes; empty where no benchmark runs any.
    """

    shared: dict[str, str]
    paths: dict[str, str]
    packages: tuple[str, ...]
    sandbox: str = ""


@dataclass(frozen=True)
class ClusterAnswer:
    """Every node's report, and for each shared folder the nodes whose reply did not arrive on this machine."""

    nodes: list[NodeReport]
    lost: dict[str, list[str]]


def full(study: Study, run: Run, planned: StudyPlan, address: str | None) -> list[CheckResult]:
    """Every check, including those that take a minute. Without an address the cluster is this machine."""
    packages, state = (*training_packages(study), *_scoring_packages(study)), preparation.state(study)
    made = state.ready.ingredients if state.ready else None
    paths = _ingredient_folders(made) | _scoring_folders(study) | _trainer(study)
    needed = Requirements(_shared(run), paths, packages, _sandbox(study))
    answer = ask(needed, address)
    unseen_gpus = [] if address else checks.without_gpus(study, answer.nodes)
    return [
        *checks.results("--runs", checks.needs_a_folder(study, run.mirror is not None), run.address),
        *inputs(study, state),
        *checks.results("tracking", tracking.missing(study.tracking), "its packages are installed"),
        *([CheckResult("training.stage", False, fault)] if (fault := preference.fault(study)) else []),
        *(checks.results("notify", notifier.faults(study.notify), "the message can be sent") if study.notify else ()),
        *_trainer_results(study),
        *setup(needed, answer),
        *(unseen_gpus or checks.has_capacity(study, answer.nodes) + checks.has_free_capacity(study, answer.nodes)),
        *checks.gpu_memory(planned.trial_memory, answer.nodes),
        *checks.disk_space(_space(run, planned)),
    ]


def refuse_unready(study: Study, run: Run, address: str) -> None:
    """The quick checks, once the corpora are packed. Raises InputError with one line for each fault."""
    folders = _ingredient_folders(run.ingredients()) | _trainer(study)
    needed = Requirements(_shared(run), folders, training_packages(study), _sandbox(study))
    failed = [result for result in cluster(study, needed, ask(needed, address)) if not result.ok]
    if failed:
        raise InputError("\n".join(f"{result.name}: {result.detail}" for result in failed))


def cluster(study: Study, needed: Requirements, answer: ClusterAnswer) -> list[CheckResult]:
    return [*setup(needed, answer), *checks.has_capacity(study, answer.nodes)]


def setup(needed: Requirements, answer: ClusterAnswer) -> list[CheckResult]:
    """Whether every node answers, and has the packages and the storage; not its size."""
    here = {"python": platform.python_version()} | {name: probe.version(name) for name in needed.packages}
    return [
        *checks.answered(answer.nodes),
        *checks.same_versions(answer.nodes, here),
        *checks.shared_storage(answer.nodes, needed.shared, answer.lost),
        *checks.paths_exist(answer.nodes),
        *(checks.has_sandbox(answer.nodes) if needed.sandbox else ()),
    ]


def ask(needed: Requirements, address: str | None, inspect: Inspect = probe.inspect) -> ClusterAnswer:
    """Have every node look for what it needs, and exchange a file with it in each shared folder."""
    nonce = uuid.uuid4().hex
    with _nonce_files(needed.shared, nonce):
        nodes = _reports(vars(needed) | {"nonce": nonce}, address, inspect)
        lost = {name: _without_reply(nodes, Path(folder), nonce) for name, folder in needed.shared.items()}
    return ClusterAnswer(nodes, lost)


def _reports(request: dict[str, Any], address: str | None, inspect: Inspect) -> list[NodeReport]:
    if address:
        from sweep.preflight.query import query

        return query(request, address, inspect)
    seen = inspect(request)
    resources = {"CPU": float(seen["cpus"]), "GPU": float(len(seen["gpus"]))}
    return [NodeReport(name=seen["host"], resources=resources, free=resources, seen=seen)]


def _without_reply(nodes: list[NodeReport], folder: Path, nonce: str) -> list[str]:
    """Nodes that answered, but whose reply is not in the folder. Listing it makes an NFS client look again."""
    here = set(os.listdir(folder))
    return [n.name for n in nodes if n.seen and probe.reply_name(nonce, n.seen["token"]) not in here]


@contextlib.contextmanager
def _nonce_files(shared: dict[str, str], nonce: str) -> Iterator[None]:
    """A file with the nonce in each shared folder; it and all replies to it are deleted afterwards."""
    folders = [Path(folder) for folder in shared.values()]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / probe.question_name(nonce)).write_text(nonce)
        yield
    finally:
        for folder in folders:
            for left in folder.glob(f"{probe.question_name(nonce)}*"):
                left.unlink(missing_ok=True)


def _shared(run: Run) -> dict[str, str]:
    """Folders that every node must see; an object store is not a folder."""
    runs = {} if run.mirror else {"run directory": str(run.folder.parent)}
    return runs | {"ALMR_CACHE": str(cache.root())}


def training_packages(study: Study) -> tuple[str, ...]:
    """Packages that trials need on every node; kernels only where the study uses them."""
    used = {
        "liger-kernel": study.execution.cross_entropy == "liger",
        "torchao": study.training.optimizer.state == "int8",
        "flash-attn": study.execution.attention == "flash_attention_2",
        "trl": study.training.stage == "dpo",
        **dict.fromkeys(tracking.distributions(study.tracking), True),
    }
    return (*SAME_EVERYWHERE, *(name for name, is_used in used.items() if is_used))


def _ingredient_folders(ingredients: Ingredients | None) -> dict[str, str]:
    """The folders of the prepared model and corpora, by the study's field."""
    if ingredients is None:
        return {}
    folders = {f"corpora.{name}": folder for name, folder in ingredients.folders.items()}
    is_folder = Path(ingredients.base_model).is_dir()  # else a Hugging Face id
    return folders | ({"base_model": ingredients.base_model} if is_folder else {})


def _trainer(study: Study) -> dict[str, str]:
    """The Python of another trainer, which every node must see; a container's is known only inside it."""
    choice = study.trainer
    if not choice.external or study.replay or choice.container:
        return {}
    return {"trainer": start.of_choice(choice).python}


def _trainer_results(study: Study) -> list[CheckResult]:
    if not study.trainer.external:
        return []
    try:
        outlook.refuse_missing(study)
    except InputError as error:
        return [CheckResult("trainer", False, str(error).removeprefix("trainer: "))]
    return [CheckResult("trainer", True, "; ".join(outlook.lines(study)[:1]).removeprefix("trainer: "))]


def _scoring_packages(study: Study) -> tuple[str, ...]:
    """Packages that benchmarks need: a run without them goes on, and leaves those scores out."""
    return ("lm-eval",) if study.benchmarks and not study.replay and catalogue.harness_tasks(study.benchmarks) else ()


def _sandbox(study: Study) -> str:
    runs_code = study.benchmarks and not study.replay and definitions.runs_code(study.benchmarks)
    return study.benchmarks.sandbox if study.benchmarks and runs_code else ""


def _scoring_folders(study: Study) -> dict[str, str]:
    if study.benchmarks is None or study.replay:
        return {}
    stated = {"benchmarks.data": study.benchmarks.data, "benchmarks.include": study.benchmarks.include}
    return {name: path for name, path in stated.items() if path}


def _space(run: Run, planned: StudyPlan) -> dict[str, tuple[float | None, float]]:
    """Bytes that are needed and free, by folder. What lies on one disk needs its space together."""
    needs: list[tuple[Path, float | None]] = [(cache.root(), planned.disk.to_prepare)]
    if not run.mirror:
        here = cache.size([str(run.folder)], set())  # of an earlier session
        needs.append((run.folder.parent, max(0.0, planned.disk.run_bytes - here)))
    found = {str(folder): (None, _free(folder)) for folder, need in needs if need is None}
    disks: dict[int, list[tuple[Path, float]]] = {}
    for folder, need in needs:
        if need is not None:
            disks.setdefault(folder.stat().st_dev, []).append((folder, need))
    together = {
        " with ".join(dict.fromkeys(str(folder) for folder, _ in parts)): (sum(need for _, need in parts), parts[0][0])
        for parts in disks.values()
    }
    return found | {names: (need, _free(folder)) for names, (need, folder) in together.items()}


def _free(folder: Path) -> float:
    return float(shutil.disk_usage(folder).free)
