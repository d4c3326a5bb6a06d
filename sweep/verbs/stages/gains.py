"""The table of gains of a chain's models, by the function behind `almr scores`."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from sweep.store.run import Run
from sweep.study.sections.benchmarks import Benchmarks

WIDTH = 100


def table(
    home: Run, models: Mapping[str, str], benchmarks: Benchmarks, launch: Run | None, console: Console
) -> list[str]:
    """Score the models and write the table into the folder of the chain; returns it as lines.

    `launch`: the run whose held-out text the suite `embedded` asks about. Raises InputError as `almr scores`.
    """
    from sweep.verbs.scores import questions, score
    from sweep.verbs.scores.named import NamedModel

    text = questions.of_run(launch) if launch and benchmarks.suite == "embedded" else None
    named = [NamedModel(label, model) for label, model in models.items()]
    made = score.score_models(named, questions.asked(benchmarks, text), home.files.gains, console)
    return made.text(WIDTH).splitlines()
