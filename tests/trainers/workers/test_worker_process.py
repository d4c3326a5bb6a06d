"""What a worker process sets for itself: its memory allocator, and its imports."""

from __future__ import annotations

import gc
import importlib
import platform
import subprocess
import sys

import pytest

from trainers.workers.importing import without_collection

# In a thread, as Ray Tune runs a trial: its heaps are others than the main thread's.
STEPS = """
import resource, sys, threading
import torch
from sweep.study.sections.resources import Resources
from trainers.workers.device import open_device

def step():
    logits = [torch.ones(2**21) for _ in range(6)]  # of 8 MiB each

def train():
    if sys.argv[1] == "trial":
        open_device(Resources(cpus=1))
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


def _page_faults(what: str) -> int:
    return int(subprocess.run([sys.executable, "-c", STEPS, what], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_a_trial_uses_the_memory_of_its_last_step_again() -> None:
    assert _page_faults("trial") < 0.6 * _page_faults("plain")  # none in place of 8,193 with torch 2.13


def test_imports_that_fail_leave_garbage_collection_on() -> None:
    with pytest.raises(ModuleNotFoundError), without_collection():
        importlib.import_module("trainers.no_such_module")
    assert gc.isenabled()
