"""Replays searches in parallel, in processes that end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import SearchOutcome
from analysis.search.replay import found_by_fit
from sweep.store.interruption import kept_handlers
from sweep.study import InputError, Objective
from sweep.verbs.simulation.requested import Comparison
from sweep.worker.group.supervisor import die_with_parent

Found = tuple[tuple[str, int], list[tuple[SearchOutcome, dict[str, Any] | None]]]
HELD = (signal.SIGINT, signal.SIGHUP)
END_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """What the processes that replay searches need."""

    measured: MeasuredTable
    objective: Objective
    compared: Comparison

    def run(self, search: tuple[str, int]) -> Found:
        """One search: its outcome after each number of trials, and the fit of these trials where it is wanted."""
        replayed, counts = self.compared.replayed(search), self.compared.trials
        found = []
        for count, trials in zip(counts, replayed.trials(self.measured, counts), strict=True):
            fit = found_by_fit(self.measured, trials, self.objective) if self.compared.fitted else None
            outcome = replayed.outcome(self.measured, count, trials)
            found.append((outcome, {"seed": replayed.seed} | fit if fit else None))
        return search, found


def results(job: Job, searches: list[tuple[str, int]]) -> Iterator[Found]:
    """Each search with its results, as they end; in this process where only one can run."""
    workers = min(_cores(), len(searches))
    if workers == 1:
        for search in searches:
            yield job.run(search)
        return
    with _held_interrupts():
        resource_tracker.ensure_running()  # it removes what a killed process left
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
    try:
        with _held_interrupts():
            futures = [pool.submit(job.run, search) for search in searches]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise InputError(f"one of {workers} processes was killed, probably out of memory: free some memory") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # else the interpreter waits for the rest of its search
        raise
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """Wait for the pool's own threads too: where the process ends while they give semaphores back, Python warns of
    leaked ones. Not for ever: before Python 3.11.5 one of them may wait for a process that was ended.
    """
    ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)
    ending.start()
    ending.join(END_SECONDS)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Ctrl-C and a closed terminal wait until the block ends. To processes that start inside they never come: the
    parent ends those.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        with _noted():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _noted() -> Iterator[None]:
    """What is blocked in this thread alone comes by way of another one, and Python runs its handler here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with kept_handlers():
            for number in HELD:
                signal.signal(number, lambda number, _: came.append(number))
            yield
    finally:
        for first in came[:1]:
            signal.raise_signal(first)


def _begin(parent: int) -> None:
    """Start a worker process: it ends with its parent; one thread, also for libraries that are loaded later."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
