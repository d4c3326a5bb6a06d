"""The metric `code_eval` of the task files that run code: pass@1 by a sandbox, in the place of one without."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from trainers.benchmarks.sandbox import engines
from trainers.benchmarks.sandbox.engines import Sandbox
from trainers.benchmarks.sandbox.verdict import passes

VERSION = 2  # of the way to a verdict: 1 ran program and test in one process


@lru_cache
def found(choice: str) -> Sandbox | str:
    """As `engines.find`, tried once in this process."""
    return engines.find(choice)


class CodeEval:
    """Replaces the metric `code_eval`, of which task files use only `compute`. `choice`: the study's
    `benchmarks.sandbox`.
    """

    def __init__(self, choice: str) -> None:
        self.choice = choice

    def compute(
        self, references: list[str], predictions: list[list[str]], k: list[int]
    ) -> tuple[dict[str, float], Any]:
        """pass@1: the share of programs that pass their tests. Raises ValueError where no sandbox works here."""
        if k != [1]:
            raise ValueError(f"its metric is pass@{k}: greedy decoding gives one answer a question, so pass@1 alone")
        sandbox = found(self.choice)
        if isinstance(sandbox, str):
            raise ValueError(f"no sandbox for the code of the model works here ({sandbox}): {engines.FIX}")
        results = [
            passes(program, test, sandbox)
            for test, programs in zip(references, predictions, strict=True)
            for program in programs
        ]
        return {"pass@1": sum(results) / len(results)}, results


@contextlib.contextmanager
def instead_of_code_eval(choice: str) -> Iterator[None]:
    """Give task files our metric for `code_eval`, which would be downloaded and would run code in this process."""
    import evaluate

    load = evaluate.load

    def ours(name: str, *arguments: Any, **options: Any) -> Any:
        return CodeEval(choice) if name == "code_eval" else load(name, *arguments, **options)

    evaluate.load = ours
    try:
        yield
    finally:
        evaluate.load = load


def refuse_other_ways(task: Any) -> None:
    """Raises ValueError for a loaded task that runs code, but not through `code_eval`: it would run in this process."""
    if not getattr(task.config, "unsafe_code", False):
        return
    functions = [*_functions(task.config.process_results), *_functions(task.config.metric_list)]
    if not any(isinstance(value, CodeEval) for one in functions for value in one.__globals__.values()):
        raise ValueError(
            "its task file runs the code of the model itself, not through code_eval, so no sandbox holds it: leave it "
            "out, or state benchmarks.sandbox: none"
        )


def _functions(stated: Any) -> Iterator[Callable[..., Any]]:
    for one in stated if isinstance(stated, list) else [stated]:
        for value in one.values() if isinstance(one, dict) else [one]:
            if hasattr(value, "__globals__"):
                yield value
