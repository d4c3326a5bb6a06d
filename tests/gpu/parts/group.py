"""A worker group, started as a sweep starts it and ended while it trains: is the memory free afterwards, how soon?"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from sweep.store.run import Run
from sweep.study import Study, Trial
from sweep.worker.group.node import NodeProcesses, RankCommand, Rendezvous, free_port
from tests.gpu.setting import Setting, gigabytes

RANK = "sweep.worker.group.rank"
STEPS_BEFORE = 3  # that it has logged before it is ended
FREE_BYTES = 64e6  # above the memory in use before: counts as free
WAIT_SECONDS = 30.0


def measure(setting: Setting, write: Callable[..., None]) -> None:
    if setting.gpu:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # as Ray sets it: the group locks this GPU
    content = setting.content("group", steps=100_000, sequences=setting.of(16, 4))
    if not setting.gpu:
        content["resources"] = {"processes": 2, "cpus": 1}  # a CPU's single worker has no process group
    for ending, end in (("stopped", _stop), ("a rank killed by SIGKILL", _kill_rank)):
        _measure(setting, content | {"name": f"group-{ending.split()[0]}"}, ending, end, write)


def _measure(
    setting: Setting,
    content: dict[str, object],
    ending: str,
    end: Callable[[NodeProcesses], None],
    write: Callable[..., None],
) -> None:
    run, study, trial = setting.begun(content)
    run.start(trial, study)
    before, began = _used(setting), time.perf_counter()
    node = _start(run, study, trial)
    try:
        if fault := _await_steps(run, trial, node):
            write(ending, failed=fault)
            return
        started, during = time.perf_counter() - began, _used(setting)
        ended = time.perf_counter()
        end(node)
        freed = _await_free(setting, before)
        left = _used(setting)
    finally:
        node.stop()
    values = {
        "to its third step, s": round(started, 1),
        "memory in use before, GB": gigabytes(before),
        "while it trained": gigabytes(during),
        "afterwards": gigabytes(left),
        "free again after, s": round(freed - ended, 2) if freed else f"not within {WAIT_SECONDS:g}",
        "processes left": len(_ranks()),
    }
    write(ending, values, None if freed and not _ranks() else "memory or processes are left")


def _start(run: Run, study: Study, trial: Trial) -> NodeProcesses:
    resources = study.resources
    rendezvous = Rendezvous(
        address="127.0.0.1",
        port=free_port(),
        nodes=1,
        node=0,
        workers_per_node=resources.workers_per_node,
        cpus_per_worker=resources.cpus_per_worker,
        gpus=resources.gpus_per_node > 0,
    )
    files = run.files.trial(trial.id)
    return NodeProcesses(rendezvous, RankCommand(RANK, [str(run.folder), str(files.request)], files.torchrun_log(0)))


def _await_steps(run: Run, trial: Trial, node: NodeProcesses) -> str | None:
    """Returns when it has logged some steps; why it will not, where it ended before."""
    while run.progress(trial) < STEPS_BEFORE:
        if outcome := node.poll():
            log = run.log(trial)
            lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
            return f"it ended before its third step: {outcome.failures}: {lines[-1] if lines else 'no log'}"[:300]
        time.sleep(0.1)
    return None


def _stop(node: NodeProcesses) -> None:
    node.stop()


def _kill_rank(node: NodeProcesses) -> None:
    for process in _ranks():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    while node.poll() is None:  # torchrun sees it, and the supervisor ends what is left
        time.sleep(0.01)


def _await_free(setting: Setting, before: float) -> float | None:
    until = time.perf_counter() + WAIT_SECONDS
    while time.perf_counter() < until:
        if _used(setting) <= before + FREE_BYTES:
            return time.perf_counter()
        time.sleep(0.02)
    return None


def _used(setting: Setting) -> float:
    """Bytes in use: of the GPU by whatever process; on a CPU by the ranks."""
    return _gpu_used() if setting.gpu else float(sum(_resident(process) for process in _ranks()))


def _gpu_used() -> float:
    """Without a CUDA context of this process, which would itself take memory."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return float(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except Exception:  # no such package, or no access to its library
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
        return float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20


def _ranks() -> list[int]:
    """The processes of ranks on this machine, torchrun and supervisor left out."""
    found = []
    for process in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if RANK.encode() in words and not any(b"torchrun" in word for word in words):
                found.append(process)
    return found


def _resident(process: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
