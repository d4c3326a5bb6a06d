"""A study's grid as a table: which cells are done, and how often a trial reads each corpus."""

from __future__ import annotations

from rich.table import Table

from sweep.planning.plan import StudyPlan
from sweep.study import LANGUAGES, Study, Trial, numbers


def grid(study: Study, planned: StudyPlan) -> Table:
    """One column per ALMR, one row per LR; below, the epochs over each corpus."""
    table = Table("LR / ALMR", box=None, padding=(0, 1, 0, 0))
    for almr in study.grid.almr:
        table.add_column(numbers.almr(almr), justify="right", no_wrap=True)
    left = {trial.id for trial in planned.left}
    known = {trial.id for trial in planned.trials}
    for lr in study.grid.lrs:
        table.add_row(numbers.lr(lr), *(_cell(study, almr, lr, known, left) for almr in study.grid.almr))
    for language in LANGUAGES:
        epochs = planned.epochs[language]
        shown = [f"{n:.2g}" for n in epochs] if epochs else ["?"] * len(study.grid.almr)
        table.add_row(f"{study.language_name(language)} epochs", *shown)
    return table


def _cell(study: Study, almr: float, lr: float, known: set[str], left: set[str]) -> str:
    here = [Trial(almr=almr, lr=lr, seed=seed).id for seed in study.grid.seeds]
    done = sum(trial in known and trial not in left for trial in here)
    if not done:
        return "open" if study.search.proposes and not known & set(here) else "to do"
    return "done" if len(here) == 1 else f"{done}/{len(here)}"
