"""Code that a model wrote, run apart: a process of its own with limits of time, memory, files and processes, an empty
environment and folder, and, where the kernel lets a user have one, a network namespace without a network.

It keeps mistakes from doing harm. It is no wall against code that is meant to do harm: a container is.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

SECONDS = 10
MEMORY_BYTES = 2 * 2**30
FILE_BYTES = 2**20
PROCESSES = 256


def passes(program: str) -> bool:
    """Whether a Python program ends well within the limits."""
    with tempfile.TemporaryDirectory(prefix="almr-code-") as folder:
        try:
            done = subprocess.run(  # noqa: S603
                [*_apart(), sys.executable, "-I", "-c", program],
                cwd=folder,
                env={"HOME": folder, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                preexec_fn=_limit,
                start_new_session=True,
                check=False,
            )
        except (subprocess.TimeoutExpired, ValueError):  # ValueError: a program with a null byte
            return False
    return done.returncode == 0


def _limit() -> None:
    limits = {
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


@lru_cache
def _apart() -> tuple[str, ...]:
    """The command that takes the network away; empty where the kernel does not let a user do so."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--user", "--map-root-user", "--net")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)  # noqa: S603
    return command if tried.returncode == 0 else ()


class _CodeEval:
    """The one method of the metric `code_eval` that task files use."""

    def compute(
        self, references: list[str], predictions: list[list[str]], k: list[int]
    ) -> tuple[dict[str, float], Any]:
        """pass@1: the share of programs, each with its test, that pass."""
        assert k == [1], "greedy answers are one a question"
        results = [
            passes(f"{program}\n{test}")
            for test, programs in zip(references, predictions, strict=True)
            for program in programs
        ]
        return {"pass@1": sum(results) / len(results)}, results


@contextlib.contextmanager
def instead_of_code_eval() -> Iterator[None]:
    """Task files that load `code_eval`, a metric that is downloaded and runs code in this process, get ours instead."""
    import evaluate

    load = evaluate.load

    def ours(name: str, *arguments: Any, **options: Any) -> Any:
        return _CodeEval() if name == "code_eval" else load(name, *arguments, **options)

    evaluate.load = ours
    try:
        yield
    finally:
        evaluate.load = load
