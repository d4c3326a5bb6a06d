"""Running code that a model wrote, in a process of its own: with limits on time, memory, files and processes, an empty
environment and folder, and without a network where the kernel lets a user have a network namespace.

It protects from mistakes, not from malicious code: for that use a container.
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
    """Whether a Python program exits with status 0 within the limits."""
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
    """The command prefix that removes the network; empty where the kernel does not let a user do so."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--user", "--map-root-user", "--net")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)  # noqa: S603
    return command if tried.returncode == 0 else ()


class _CodeEval:
    """Replaces the metric `code_eval`, of which task files use only `compute`."""

    def compute(
        self, references: list[str], predictions: list[list[str]], k: list[int]
    ) -> tuple[dict[str, float], Any]:
        """pass@1: the share of programs that pass their tests."""
        assert k == [1], "greedy decoding gives one answer per question"
        results = [
            passes(f"{program}\n{test}")
            for test, programs in zip(references, predictions, strict=True)
            for program in programs
        ]
        return {"pass@1": sum(results) / len(results)}, results


@contextlib.contextmanager
def instead_of_code_eval() -> Iterator[None]:
    """Give task files our metric for `code_eval`, which would be downloaded and would run code in this process."""
    import evaluate

    load = evaluate.load

    def ours(name: str, *arguments: Any, **options: Any) -> Any:
        return _CodeEval() if name == "code_eval" else load(name, *arguments, **options)

    evaluate.load = ours
    try:
        yield
    finally:
        evaluate.load = load
