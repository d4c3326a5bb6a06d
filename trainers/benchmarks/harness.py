"""Scoring with lm-evaluation-harness, in this process, on a model in memory.

`evaluate` is called instead of `simple_evaluate`, which collects facts about the machine for seconds each time. All
workers of a trial run the same questions in the same order, as the forward passes of a sharded model require.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import yaml

from sweep.study.files import cache
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.study import fingerprint_of
from trainers.benchmarks import catalogue, definitions, outcome, task_data
from trainers.benchmarks.definitions import TaskDefinition
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.benchmarks.sandbox import code_eval, engines
from trainers.data.conversations import template_date

SHOT_SEED = 1234  # lm-evaluation-harness' own


@dataclass(frozen=True)
class Prompting:
    """How models are asked, whatever the task files say: `chat` in the template of the model's tokenizer, solved
    examples as turns of it; answers greedily at `temperature` 0, else sampled; of at most `max_tokens` tokens (None: as
    each task states).
    """

    chat: bool = False
    temperature: float = 0.0
    max_tokens: int | None = None

    @property
    def generation(self) -> dict[str, Any]:
        """What it changes in the `generation_kwargs` of a task."""
        sampled = {"do_sample": self.temperature > 0, "temperature": self.temperature}
        return sampled | ({} if self.max_tokens is None else {"max_gen_toks": self.max_tokens})


def run(
    names: list[str],
    benchmarks: Benchmarks,
    model: Any,
    tokenizer: Any,
    precision: str,
    heartbeat: Callable[[], None],
    prompting: Prompting | None = None,
) -> ScoringOutcome:
    """Score the model on each task. A task that cannot be scored is a failure in the outcome; the others continue.

    `prompting`: None for what each task states, without a chat template.
    """
    if not names:
        return ScoringOutcome()
    try:
        with _quiet():
            lm = _language_model(model, tokenizer, benchmarks.batch, precision, heartbeat)
    except ImportError:
        return outcome.failed(names, "lm-evaluation-harness is not installed: pip install 'almr-sweep[bench]'")
    if not _answers(model, tokenizer):
        return outcome.failed(names, "the model answers NaN")
    found = ScoringOutcome()
    for name in names:
        heartbeat()
        try:
            with _quiet():
                found |= _score(name, benchmarks, lm, prompting)
        except Exception as error:  # whatever a task file, its data or its metric raises
            found |= outcome.failed([name], error)
    return found


@torch.no_grad()
def _answers(model: Any, tokenizer: Any) -> bool:
    """Whether the model's logits are finite: from NaN, greedy decoding makes text like any other."""
    token = torch.tensor([[tokenizer.eos_token_id or 0]], device=model.device)
    return bool(model(input_ids=token).logits.isfinite().all())


def _score(name: str, benchmarks: Benchmarks, lm: Any, prompting: Prompting | None) -> ScoringOutcome:
    from lm_eval.evaluator import evaluate

    tasks, chat = loaded(benchmarks, name, prompting), bool(prompting and prompting.chat)
    for task in tasks.values():
        task.set_fewshot_seed(seed=SHOT_SEED)  # drawing examples advances it, and every model has to see the same ones
    results = evaluate(
        lm,
        {"tasks": tasks},
        limit=benchmarks.limit,
        bootstrap_iters=0,
        confirm_run_unsafe_code=benchmarks.unsafe_code,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
    )
    return _outcome(name, tasks, results)


def _outcome(name: str, tasks: dict[str, Any], results: Any) -> ScoringOutcome:
    """A task's outcome. Its score is the mean of its first metric and filter over the questions of all its subjects."""
    metric, kind = _first_metric(next(iter(tasks.values())), results)
    samples = [sample for leaf in sorted(tasks) for sample in _samples(results, leaf, kind)]
    values = [value for sample in samples if (value := _number(sample.get(metric))) is not None]
    if not samples:
        raise ValueError("the task has no questions")
    if len(values) < len(samples):
        raise ValueError(
            f"its metric {metric} gives no number per question, so models cannot be compared question by question"
        )
    entry = catalogue.known(name)
    score = outcome.score(
        values,
        higher_is_better=bool(next(iter(tasks.values())).higher_is_better().get(metric, True)),
        version=str(results["versions"].get(sorted(tasks)[0])),
        prompt_sha256=outcome.sha256(f"{sample['prompt_hash']}{sample['target_hash']}" for sample in samples),
        group=entry.group if entry else None,
        language=entry.language if entry else None,
        metric=metric if kind == "none" else f"{metric},{kind}",
    )
    return ScoringOutcome({name: score}, {name: values})


def _first_metric(task: Any, results: Any) -> tuple[str, str]:
    """The task's first metric, and its first filter (a way to read the answer)."""
    samples = results["samples"][task.task_name]
    if not samples:
        raise ValueError("the task has no questions")
    stated = task.config.metric_list or [{"metric": name} for name in samples[0]["metrics"]]
    first = stated[0]["metric"]
    name = first if isinstance(first, str) else getattr(first, "__name__", "")
    return (name if name in samples[0]["metrics"] else samples[0]["metrics"][0]), str(samples[0]["filter"])


def _samples(results: Any, leaf: str, kind: str) -> list[Any]:
    samples = sorted((s for s in results["samples"][leaf] if s["filter"] == kind), key=lambda sample: sample["doc_id"])
    if any(value != value for sample in samples for value in _flat(sample["resps"])):
        raise ValueError("the model answers NaN")
    return samples


def _flat(answers: Any) -> Iterator[Any]:
    if isinstance(answers, list | tuple):
        for answer in answers:
            yield from _flat(answer)
    else:
        yield answers


def _number(value: Any) -> float | None:
    """A question's number; None for a metric of the whole corpus."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def loaded(benchmarks: Benchmarks, name: str, prompting: Prompting | None = None) -> dict[str, Any]:
    """The tasks that a name defines, with their data, cached in this process. Raises ValueError for missing data."""
    found = []
    for leaf in definitions.leaves(benchmarks, name):
        files = task_data.locate(benchmarks, name, leaf)
        if files is None:
            raise ValueError(task_data.missing(benchmarks, name, leaf))
        found.append((leaf, task_data.override(leaf, files, benchmarks.shots)))
    names = tuple(leaf.name for leaf, _ in found)
    return _tasks(_written(found), names, benchmarks.shots, benchmarks.sandbox, prompting)


def _written(found: list[tuple[TaskDefinition, dict[str, Any]]]) -> Path:
    """A folder with one task file for each task, which includes the original file and reads the located data."""
    content = {leaf.name: {"include": str(leaf.file), "task": leaf.name} | change for leaf, change in found}

    def build(folder: Path) -> None:
        for name, config in content.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")

    return cache.build_once(cache.root() / "benchmarks" / "tasks" / fingerprint_of(content), build)


@lru_cache(maxsize=64)
def _tasks(
    folder: Path, names: tuple[str, ...], shots: int | None, sandbox: str, prompting: Prompting | None
) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    from trainers.data.readers import arrow_json

    arrow_json.install()  # questions are read with `datasets`
    with code_eval.instead_of_code_eval(sandbox):
        tasks: dict[str, Any] = TaskManager(include_path=str(folder), include_defaults=False).load(list(names))["tasks"]
    for task in tasks.values():
        if sandbox != engines.NONE:
            code_eval.refuse_other_ways(task)
        stated = task.config.num_fewshot
        task.set_config(key="num_fewshot", value=(stated or 0) if shots is None or stated == 0 else shots)
        if prompting and task.OUTPUT_TYPE == "generate_until":
            task.set_config(key="generation_kwargs", value=prompting.generation, update=True)
    return tasks


def _language_model(model: Any, tokenizer: Any, batch: int, precision: str, heartbeat: Callable[[], None]) -> Any:
    from lm_eval.models.huggingface import HFLM

    class WithHeartbeat(HFLM):  # type: ignore[misc]
        """Signals the heartbeat with every batch: a benchmark takes longer than `resources.hang_minutes`."""

        def _model_call(self, *arguments: Any, **options: Any) -> Any:
            heartbeat()
            return super()._model_call(*arguments, **options)

        def _model_generate(self, *arguments: Any, **options: Any) -> Any:
            heartbeat()
            return super()._model_generate(*arguments, **options)

    mixed = "bfloat16" if precision == "bfloat16" else None
    return WithHeartbeat(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch,
        mixed_precision_dtype=mixed,
        chat_template_args=template_date.options(tokenizer),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Download nothing, whatever a task file requests, print nothing, and log only errors."""
    import datasets
    from huggingface_hub import constants

    log, offline = logging.getLogger("lm_eval"), [(constants, "HF_HUB_OFFLINE"), (datasets.config, "HF_HUB_OFFLINE")]
    before, level = [getattr(*switch) for switch in offline], log.level
    for switch in offline:
        setattr(*switch, True)
    log.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
            yield
    finally:
        log.setLevel(level)
        for switch, value in zip(offline, before, strict=True):
            setattr(*switch, value)
