"""Checks of a cluster's answers against a study: one result per line, each naming the fault and the fix. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweep.planning.requirements import TrialMemory
from sweep.study import InputError, Study
from sweep.study.numbers import percent, size
from sweep.study.sizes.shape import USABLE
from sweep.trials import capacity

IN_USE_BYTES = 2e9  # a driver and a desktop use less of a GPU


class CheckResult(NamedTuple):
    """`note`: no fault, and nothing that was verified either."""

    name: str
    ok: bool
    detail: str
    note: bool = False

    @property
    def text(self) -> str:
        state = "note" if self.note else "ok" if self.ok else "not ok"
        return f"{state}: {self.name}: {self.detail}"


@dataclass(frozen=True)
class NodeReport:
    """One machine of the cluster: the resources that Ray counts there, those that are free now, and the answer of
    `probe.inspect` (`seen`). `silent` says why there is no answer.
    """

    name: str
    resources: dict[str, float]
    free: dict[str, float]
    seen: dict[str, Any] | None
    silent: str = ""


def verdict(found: Sequence[CheckResult]) -> str:
    """One line for all results: whether all passed, else which did not."""
    failed = list(dict.fromkeys(result.name for result in found if not result.ok))
    if not failed:
        return "all checks passed"
    return f"{len(failed)} {'check' if len(failed) == 1 else 'checks'} failed: {', '.join(failed)}"


def results(name: str, faults: Sequence[str], fine: str) -> list[CheckResult]:
    """One failed result for each fault; without faults, one result that passed with the text `fine`."""
    return [CheckResult(name, False, fault) for fault in faults] or [CheckResult(name, True, fine)]


def needs_a_folder(study: Study, on_object_store: bool) -> list[str]:
    """What the study needs that a run on an object store cannot do: there each worker has a folder of its own, and sees
    neither other trials nor other nodes.
    """
    if not on_object_store:
        return []
    advice, faults = "give --runs a folder that every node sees", []
    if study.keep == "best":
        faults.append(f"keep: best compares trials on disk: write keep: all or none, or {advice}")
    if study.resources.nodes > 1:
        faults.append(f"resources.nodes: the nodes of a trial share files: {advice}")
    return faults


def answered(nodes: Sequence[NodeReport]) -> list[CheckResult]:
    faults = [f"{node.name} does not answer ({node.silent}): restart Ray there" for node in nodes if node.seen is None]
    return results("nodes", faults, f"{len(nodes)} answered")


def has_capacity(study: Study, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Whether a trial fits on the cluster when nothing else runs."""
    whole = [node.resources for node in nodes]
    try:
        capacity.refuse_impossible(whole, study.resources)
    except InputError as error:
        return [CheckResult("capacity", False, str(error))]
    return [CheckResult("capacity", True, f"{capacity.at_once(whole, study.resources)} trials at once")]


def without_gpus(study: Study, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """A note where a study on GPUs is checked on machines without any, such as a login node; else empty."""
    if not study.resources.gpus or any(node.resources.get("GPU") for node in nodes):
        return []
    detail = "GPUs and their memory were not checked: there is no GPU here. almr run counts them before its first trial"
    return [CheckResult("capacity", True, detail, note=True)]


def has_free_capacity(study: Study, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Whether a trial fits now, and no process outside Ray uses the GPUs."""
    faults = []
    try:
        capacity.refuse_impossible([node.free for node in nodes], study.resources)
    except InputError:
        bundle = ", ".join(f"{amount:g} {key}" for key, amount in capacity.bundle(study.resources).items())
        faults.append(
            f"a trial needs {study.resources.nodes} x ({bundle}), which is not free: wait, or stop other jobs"
        )
    for node in nodes if study.resources.gpus else ():
        if node.free.get("GPU", 0) == node.resources.get("GPU", 0):
            used = max((gpu["used"] for gpu in _gpus(node)), default=0)
            if used > IN_USE_BYTES:
                faults.append(f"{node.name}: processes outside Ray use {size(used)} of a GPU: stop them")
    return results("free capacity", faults, "a trial can start now")


def gpu_memory(trial_memory: TrialMemory | None, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """The estimate against the memory that the nodes report; empty where one of the two is missing."""
    reported = [(gpu["total"], node.name) for node in nodes for gpu in _gpus(node)]
    if trial_memory is None or not reported:
        return []
    least, where = min(reported)
    usable = f"{percent(USABLE)} of the {size(least)} on {where}"
    if fits := trial_memory.largest_fitting(least):
        return [CheckResult("GPU memory", True, f"largest micro-batch that fits in {usable}: {fits} sequences")]
    need = size(trial_memory.at(1).total)
    advice = "take more GPUs per trial, or more activation_checkpointing"
    return [CheckResult("GPU memory", False, f"one sequence needs {need}, more than {usable}: {advice}")]


def _gpus(node: NodeReport) -> list[dict[str, float]]:
    return node.seen["gpus"] if node.seen else []


def same_versions(nodes: Sequence[NodeReport], here: dict[str, str | None]) -> list[CheckResult]:
    """Whether every node has the packages of this machine (`here`), in the same versions."""
    faults = [f"{name} is not installed on this machine: install it" for name in here if here[name] is None]
    for name, version in here.items():
        for node in nodes if version else ():
            there = node.seen["versions"].get(name) if node.seen else version
            if there != version:
                faults.append(f"{name} is {version} here, {there or 'not installed'} on {node.name}: install {version}")
    return results("versions", faults, ", ".join(f"{name} {version}" for name, version in here.items()))


def has_sandbox(nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Whether each node can run the code that a model writes, as the study asks for."""
    faults = [f"{node.name}: {why}" for node in nodes if node.seen and (why := node.seen.get("sandbox"))]
    return results("benchmarks.sandbox", faults, "the code of the model runs in one")


def shared_storage(
    nodes: Sequence[NodeReport], folders: dict[str, str], lost: dict[str, list[str]]
) -> list[CheckResult]:
    """`lost`: for each shared folder the nodes whose reply is not seen on this machine."""
    found = []
    for name, folder in folders.items():
        unseen = {node.name: node.seen["unseen"][name] for node in nodes if node.seen and name in node.seen["unseen"]}
        faults = [f"{node} cannot use {folder} ({why}): put it on shared storage" for node, why in unseen.items()]
        faults += [
            f"{node} writes to another folder named {folder}: put it on shared storage"
            for node in lost.get(name, ())
            if node not in unseen
        ]
        found += results(name, faults, f"every node reads and writes {folder}")
    return found


def paths_exist(nodes: Sequence[NodeReport]) -> list[CheckResult]:
    return [
        CheckResult(name, False, f"{node.name} does not see {path}: put it on shared storage")
        for node in nodes
        if node.seen
        for name, path in node.seen["missing"].items()
    ]


def disk_space(needs: dict[str, tuple[float | None, float]]) -> list[CheckResult]:
    """`needs`: for each folder the planned bytes (None: not known) and the free bytes."""
    faults, fine = [], []
    for folder, (planned, free) in needs.items():
        if planned is not None and planned > free:
            faults.append(f"{folder} needs up to {size(planned)}, {size(free)} free: free some space, or move it")
        need = "an unknown amount" if planned is None else size(planned)
        fine.append(f"{folder} needs {need}, {size(free)} free")
    return results("disk", faults, "; ".join(fine))
