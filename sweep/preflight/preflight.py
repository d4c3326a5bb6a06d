"""Is everything there for a study's trials: `almr plan --check`, and the quick part before `almr run --address`."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.planning.plan import StudyPlan
from sweep.preflight import checks, node
from sweep.preflight.checks import CheckResult, NodeReport
from sweep.preflight.inputs import inputs
from sweep.store.run import Run
from sweep.study.errors import InputError
from sweep.study.files import cache
from sweep.study.study import Study
from trainers.benchmarks import catalogue
from trainers.tracking import tracker

SAME_EVERYWHERE = ("ray", "torch", "transformers", "datasets")


def full(study: Study, run: Run, planned: StudyPlan, address: str | None) -> list[CheckResult]:
    """Every check, also those that take a minute. With no address the cluster is this machine."""
    shared, more = _shared(run), _scoring(study)
    nodes, lost = ask(study, shared, _scoring_folders(study), address, more=more)
    return [
        *checks.verdict("--runs", checks.needs_a_folder(study, run.mirror is not None), run.address),
        *inputs(study),
        *checks.verdict("tracking", tracker.missing(study.tracking), "its packages are installed"),
        *cluster(study, nodes, shared, lost, more),
        *checks.free_now(study, nodes),
        *checks.gpu_memory(planned.layout, nodes),
        *checks.space(_space(run, planned)),
    ]


def refuse_unready(study: Study, run: Run, address: str) -> None:
    """The quick part, after the corpora were packed. Raises InputError with a line for each fault."""
    shared = _shared(run)
    known = run.ingredients()
    folders = {f"corpora.{name}": folder for name, folder in known.folders.items()} if known else {}
    if known and Path(known.base_model).is_dir():
        folders["base_model"] = known.base_model
    nodes, lost = ask(study, shared, folders, address)
    faults = [finding for finding in cluster(study, nodes, shared, lost) if not finding.ok]
    if faults:
        raise InputError("\n".join(f"{finding.name}: {finding.detail}" for finding in faults))


def cluster(
    study: Study,
    nodes: list[NodeReport],
    shared: dict[str, str],
    lost: dict[str, list[str]],
    more: tuple[str, ...] = (),
) -> list[CheckResult]:
    """`more`: further packages that the nodes were asked for."""
    packages = (*_packages(study), *more)
    here = {"python": platform.python_version()} | {name: node.version(name) for name in packages}
    return [
        *checks.answered(nodes),
        *checks.room(study, nodes),
        *checks.versions(nodes, here),
        *checks.storage(nodes, shared, lost),
        *checks.paths(nodes),
    ]


def ask(
    study: Study,
    shared: dict[str, str],
    paths: dict[str, str],
    address: str | None,
    look: Any = node.look,
    more: tuple[str, ...] = (),
) -> tuple[list[NodeReport], dict[str, list[str]]]:
    """Every node's answer, and for each shared folder the nodes whose reply did not arrive here."""
    nonce = uuid.uuid4().hex
    request = {"nonce": nonce, "shared": shared, "paths": paths, "packages": (*_packages(study), *more)}
    with _questions(shared, nonce):
        nodes = _nodes(request, address, look)
        lost = {name: _silent(nodes, Path(folder), nonce) for name, folder in shared.items()}
    return nodes, lost


def _nodes(request: dict[str, Any], address: str | None, look: Any) -> list[NodeReport]:
    if address:
        from sweep.preflight import cluster as ray_cluster

        return ray_cluster.ask(request, address, look)
    seen = look(request)
    counted = {"CPU": float(seen["cpus"]), "GPU": float(len(seen["gpus"]))}
    return [NodeReport(seen["host"], counted, counted, seen)]


def _silent(nodes: list[NodeReport], folder: Path, nonce: str) -> list[str]:
    """Nodes that answered, but whose reply is not in the folder. Listing it makes an NFS client look again."""
    here = set(os.listdir(folder))
    return [n.name for n in nodes if n.seen and node.reply_name(nonce, n.seen["token"]) not in here]


@contextlib.contextmanager
def _questions(shared: dict[str, str], nonce: str) -> Iterator[None]:
    """A file with the nonce in each shared folder, which goes with all replies to it."""
    folders = [Path(folder) for folder in shared.values()]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / node.question_name(nonce)).write_text(nonce)
        yield
    finally:
        for folder in folders:
            for left in folder.glob(f"{node.question_name(nonce)}*"):
                left.unlink(missing_ok=True)


def _shared(run: Run) -> dict[str, str]:
    """Folders that every node has to see; an object store is no folder."""
    runs = {} if run.mirror else {"run directory": str(run.folder.parent)}
    return runs | {"ALMR_CACHE": str(cache.root())}


def _packages(study: Study) -> tuple[str, ...]:
    """What has to be the same on every node; kernels only where the study uses them."""
    used = {
        "liger-kernel": study.execution.cross_entropy == "liger",
        "torchao": study.training.optimizer.state == "int8",
        "flash-attn": study.execution.attention == "flash_attention_2",
        **dict.fromkeys(tracker.distributions(study.tracking), True),
    }
    return (*SAME_EVERYWHERE, *(name for name, is_used in used.items() if is_used))


def _scoring(study: Study) -> tuple[str, ...]:
    """What benchmarks need: a run goes on without it, and without those scores."""
    return ("lm-eval",) if study.benchmarks and not study.replay and catalogue.harness_tasks(study.benchmarks) else ()


def _scoring_folders(study: Study) -> dict[str, str]:
    if study.benchmarks is None or study.replay:
        return {}
    stated = {"benchmarks.data": study.benchmarks.data, "benchmarks.include": study.benchmarks.include}
    return {name: path for name, path in stated.items() if path}


def _space(run: Run, planned: StudyPlan) -> dict[str, tuple[float | None, float]]:
    needs = {str(cache.root()): planned.disk.corpora}
    if not run.mirror:
        needs[str(run.folder.parent)] = planned.disk.run_bytes
    return {folder: (need, float(shutil.disk_usage(folder).free)) for folder, need in needs.items()}
