"""A study's grid as a table: what is done of each cell."""

from __future__ import annotations

from rich.table import Table

from sweep.planning.plan import StudyPlan
from sweep.study.fields import LANGUAGES
from sweep.study.study import Study
from sweep.study.trial import Trial


def grid(study: Study, planned: StudyPlan) -> Table:
    """One row per ALMR: epochs over each corpus, then a cell per LR with what is done of its seeds."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("ALMR", justify="right")
    for language in LANGUAGES:
        table.add_column(f"epochs of\n{language}", justify="right")
    for lr in study.grid.lrs:
        table.add_column(f"LR\n{lr:.1e}", justify="center")
    left = {trial.id for trial in planned.left}
    known = {trial.id for trial in planned.trials}
    for i, almr in enumerate(study.grid.almr):
        epochs = (planned.epochs[language] for language in LANGUAGES)
        cells = (_cell(study, almr, lr, known, left) for lr in study.grid.lrs)
        table.add_row(f"{almr:g}", *("?" if e is None else f"{e[i]:.3g}" for e in epochs), *cells)
    return table


def _cell(study: Study, almr: float, lr: float, known: set[str], left: set[str]) -> str:
    here = [Trial(almr=almr, lr=lr, seed=seed).id for seed in study.grid.seeds]
    done = sum(trial in known and trial not in left for trial in here)
    unknown = "open" if study.search.proposes and not known & set(here) else "to do"
    return f"{done}/{len(study.grid.seeds)} done" if done else unknown
