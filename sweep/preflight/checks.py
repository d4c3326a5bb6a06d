"""What a cluster's answers mean for a study: one finding a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweep.planning.memory import USABLE, TrialMemoryModel
from sweep.study.errors import InputError
from sweep.study.study import Study
from sweep.trials import capacity

TAKEN_BYTES = 2e9  # more of a GPU than a driver and a desktop take


class CheckResult(NamedTuple):
    name: str
    ok: bool
    detail: str

    @property
    def text(self) -> str:
        return f"{'ok' if self.ok else 'not ok'}: {self.name}: {self.detail}"


@dataclass(frozen=True)
class NodeReport:
    """A machine of the cluster: what Ray counts there, how much of it is free now, and what `node.look` answered.
    `silent` says why there is no answer.
    """

    name: str
    resources: dict[str, float]
    free: dict[str, float]
    seen: dict[str, Any] | None
    silent: str = ""


def verdict(name: str, faults: Sequence[str], fine: str) -> list[CheckResult]:
    """A finding for each fault, or the one that all is well."""
    return [CheckResult(name, False, fault) for fault in faults] or [CheckResult(name, True, fine)]


def needs_a_folder(study: Study, on_object_store: bool) -> list[str]:
    """What a run on an object store cannot do: a worker has a folder of its own, and sees neither other trials nor
    other nodes.
    """
    if not on_object_store:
        return []
    advice, faults = "give --runs a folder that every node sees", []
    if study.keep == "best":
        faults.append(f"keep: best compares trials on disk: write keep: all or none, or {advice}")
    if study.resources.nodes > 1:
        faults.append(f"resources.nodes: a trial of several nodes shares files: {advice}")
    return faults


def answered(nodes: Sequence[NodeReport]) -> list[CheckResult]:
    faults = [f"{node.name} does not answer ({node.silent})" for node in nodes if node.seen is None]
    return verdict("nodes", faults, f"{len(nodes)} answered")


def room(study: Study, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Whether a trial can ever be placed."""
    try:
        capacity.refuse_impossible([node.resources for node in nodes], study.resources)
    except InputError as error:
        return [CheckResult("room", False, str(error))]
    fits = capacity.at_once([node.resources for node in nodes], study.resources)
    return [CheckResult("room", True, f"{fits} trials at once")]


def free_now(study: Study, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Whether a trial can be placed at this moment, and no stranger sits on the GPUs."""
    try:
        capacity.refuse_impossible([node.free for node in nodes], study.resources)
    except InputError:
        what = f"{study.resources.nodes} x {_bundle(study)}"
        taken = [f"no room for a trial of {what} now: wait, or end what runs on the cluster"]
    else:
        taken = []
    for node in nodes if study.resources.gpus else ():
        if node.free.get("GPU", 0) == node.resources.get("GPU", 0):
            used = [gpu["used"] for gpu in _gpus(node) if gpu["used"] > TAKEN_BYTES]
            taken += [f"{node.name}: {max(used) / 1e9:.0f} GB of a GPU are taken outside Ray"] if used else []
    return verdict("free", taken, "a trial can start now")


def _bundle(study: Study) -> str:
    return ", ".join(f"{amount:g} {key}" for key, amount in capacity.bundle(study.resources).items())


def gpu_memory(layout: TrialMemoryModel | None, nodes: Sequence[NodeReport]) -> list[CheckResult]:
    """Against the memory that the nodes report; nothing where there is no estimate or no report."""
    reported = [(gpu["total"], node.name) for node in nodes for gpu in _gpus(node)]
    if layout is None or not reported:
        return []
    least, where = min(reported)
    fits = layout.fitting(least)
    has = f"{USABLE:.0%} of the {least / 1e9:.0f} GB on {where}"
    if not fits:
        return [CheckResult("GPU memory", False, f"{layout.memory(1).total / 1e9:.0f} GB a sequence, more than {has}")]
    return [CheckResult("GPU memory", True, f"a micro-batch of up to {fits} fits into {has}")]


def _gpus(node: NodeReport) -> list[dict[str, float]]:
    return node.seen["gpus"] if node.seen else []


def versions(nodes: Sequence[NodeReport], here: dict[str, str | None]) -> list[CheckResult]:
    """Every node has what this machine has."""
    faults = [f"{name} is not installed on this machine" for name, version in here.items() if version is None]
    for name, version in here.items():
        for node in nodes if version else ():
            there = node.seen["versions"].get(name) if node.seen else version
            if there != version:
                faults.append(f"{name} is {version} here, {there or 'not installed'} on {node.name}: install {version}")
    return verdict("versions", faults, ", ".join(f"{name} {version}" for name, version in here.items()))


def storage(nodes: Sequence[NodeReport], shared: dict[str, str], lost: dict[str, list[str]]) -> list[CheckResult]:
    """`lost`: for each shared folder the nodes whose reply is not seen here."""
    found = []
    for name, folder in shared.items():
        unseen = {node.name: node.seen["unseen"][name] for node in nodes if node.seen and name in node.seen["unseen"]}
        faults = [f"{folder} is not seen from {node} ({why}): put it on shared storage" for node, why in unseen.items()]
        faults += [
            f"what {node} writes to {folder} is not seen here: its folder is another one: put it on shared storage"
            for node in lost.get(name, ())
            if node not in unseen
        ]
        found += verdict(name, faults, f"{folder} is seen from every node")
    return found


def paths(nodes: Sequence[NodeReport]) -> list[CheckResult]:
    return [
        CheckResult(name, False, f"{path} is not there on {node.name}: put it on shared storage")
        for node in nodes
        if node.seen
        for name, path in node.seen["missing"].items()
    ]


def space(needs: dict[str, tuple[float | None, float]]) -> list[CheckResult]:
    """`needs`: for each folder the bytes that are planned (None: not known) and that are free."""
    faults, fine = [], []
    for folder, (planned, free) in needs.items():
        planned_text = "an unknown part" if planned is None else f"{planned / 1e9:.1f} GB"
        if planned is not None and planned > free:
            faults.append(f"{folder} has {free / 1e9:.1f} GB free, up to {planned_text} are planned: make room")
        fine.append(f"{folder}: {planned_text} of {free / 1e9:.1f} GB free")
    return verdict("disk", faults, "; ".join(fine))
