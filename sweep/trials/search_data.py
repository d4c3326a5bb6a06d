"""The measured trials of a run as a search needs them: their table, the objective, and the cells that may be tried."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sweep.store.run import Run
from sweep.study import LANGUAGES, Status, Study, Trial

if TYPE_CHECKING:
    import pandas as pd

    from analysis.decision.objectives import Goal
    from analysis.search.propose import SearchContext
    from analysis.search.space import Space


def search_context(run: Run, study: Study, hidden: Iterable[Trial] = ()) -> SearchContext:
    """What a search knows: the records of the study's trials. The `hidden` trials count as running."""
    from analysis.search.propose import SearchContext

    table = _table(run, study, hidden)
    return SearchContext(
        table=table,
        goal=_goal(study, table),
        space=_space(study, table),
        pending=sorted((trial.almr, trial.lr) for trial in hidden),
        curve=study.search.curve,
        seed=study.grid.seeds[0],
    )


def grown_space(context: SearchContext, study: Study) -> Space:
    """The space with the cells that the study's bounds allow where the best cell is at the edge."""
    from analysis.search.growth import grown

    search = study.search
    return grown(context, search.reach(study.grid), search.proposes and search.space == "range")


def _table(run: Run, study: Study, hidden: Iterable[Trial]) -> pd.DataFrame:
    """Failed trials are left out unless a search requested them: nobody retries the others, so they stay free cells."""
    from analysis.table import table as tables

    requests = run.own_requests(study)
    known = {*study.grid_trials, *(request.trial for request in requests)} - set(hidden)
    retried = {request.trial for request in requests if request.proposed}
    found = [record for trial in known if (record := run.record(trial))]
    records = [record for record in found if record.status is not Status.FAILED or record.trial in retried]
    table = tables.from_records(records)
    losses = [f"loss_{name}" for name in dict.fromkeys((*LANGUAGES, *study.corpora.source_names()))]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *losses])))
    # Where no trial has a loss, pandas cannot know the type of its column.
    return tables.with_losses(table.astype(dict.fromkeys(losses, float)), tables.named_losses(study.objective))


def _goal(study: Study, table: pd.DataFrame) -> Goal:
    from analysis.decision import objectives

    if (table["status"] == Status.COMPLETE.value).any():
        return objectives.goal(study.objective, table)
    return objectives.WeightedGoal(study.objective.shares)  # the limit of a guard needs a base loss, from a record


def _space(study: Study, table: pd.DataFrame) -> Space:
    """The cells of the grid, or its range, extended to the search's own trials that lie beyond it."""
    from analysis.search.space import Space
    from analysis.table import table as tables

    grid, table = study.grid, table[~tables.named_by_user(table)]
    almrs, lrs = _and_beyond(grid.almr, table["almr"]), _and_beyond(grid.lrs, table["lr"])
    if study.search.space == "range" and study.search.proposes:
        return Space.range((min(almrs), max(almrs)), (min(lrs), max(lrs)))
    return Space.grid(almrs, lrs)


def _and_beyond(values: tuple[float, ...], tried: Iterable[float]) -> set[float]:
    return {*values, *(x for x in tried if not min(values) <= x <= max(values))}
