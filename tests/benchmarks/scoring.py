"""What scoring costs, as a share of a trial: the embedded suite on the demo, and lm-evaluation-harness beside it.

    python tests/benchmarks/scoring.py [--model FOLDER] [--data FOLDER] [--tasks NAME ...] [--limit N]

One trial of the demo is trained as a warm worker trains it, one worker with one thread; its model is then scored. With
--data, tasks of lm-evaluation-harness on local copies too. The first scoring of a process also imports and loads the
tasks; the second is what every further trial takes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sweep.study import Ingredients, Record, Study, Trial, study_file
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.text.corpora import BaseModelSource
from trainers import prepare
from trainers.benchmarks import catalogue, harness
from trainers.model.loading import load_model, load_tokenizer
from trainers.trials import cpt
from trainers.workers.group import ALONE

TRIAL = Trial(almr=0.7, lr=3.4e-3, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of local copies")
    parser.add_argument("--model", help="a folder with a base model, in place of the embedded one")
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    study = study_file.load("demo")
    if arguments.model:
        study = study.model_copy(update={"base_model": BaseModelSource(pretrained=arguments.model)})
    ingredients = prepare.prepare(study)
    first, second = (trial(study, ingredients) for _ in range(2))
    print("| what | questions | seconds | share of the trial |\n|---|---|---|---|")
    row("a trial, its scoring included", "", second.seconds, second.seconds)
    row("its training steps", "", second.training_seconds, second.seconds)
    questions = sum(score.n or 0 for score in second.scores.values())
    row("the embedded suite, both languages", questions, second.provenance["scoring_seconds"], second.seconds)
    row("the base model's, by the first trial", questions, first.seconds - second.seconds, second.seconds)
    if arguments.tasks:
        benchmarks = Benchmarks(tasks=arguments.tasks, data=arguments.data, limit=arguments.limit)
        stock(study, ingredients, benchmarks, second.seconds)


def trial(study: Study, ingredients: Ingredients) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        return cpt.run_trial(study, TRIAL, ingredients, Path(folder))


def stock(study: Study, ingredients: Ingredients, benchmarks: Benchmarks, whole: float) -> None:
    model = load_model(study, ingredients.base_model, ALONE)
    tokenizer = load_tokenizer(study.base_model, ingredients.base_model)
    for name in catalogue.harness_tasks(benchmarks):
        for time_of in ("first in a process", "after it"):
            began = time.perf_counter()
            found = harness.run([name], benchmarks, model, tokenizer, "float32", lambda: None)
            questions = found.scores[name].n if name in found.scores else found.failures[name]
            row(f"{name}, {time_of}", questions, time.perf_counter() - began, whole)


def row(what: str, questions: object, seconds: float | None, whole: float | None) -> None:
    assert seconds is not None
    assert whole
    print(f"| {what} | {questions} | {seconds:.2f} | {seconds / whole:.1%} |", flush=True)


if __name__ == "__main__":
    main()
