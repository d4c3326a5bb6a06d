"""Too few usable trials for a fit, and what became of the others."""

from __future__ import annotations

import pandas as pd

from analysis.table import lost
from analysis.table import table as tables
from analysis.table.lost import TrialEnd
from sweep.study import MINIMUM_TRIALS, InputError, Status

FIXES = {
    "diverged": "try lower LRs",
    "failed": "read the reasons in the column excluded, and the trials' logs, then run them again",
    "excluded": "read the reasons in the column excluded",
}


def refuse(table: pd.DataFrame, name: str) -> None:
    """Raises InputError where fewer trials are usable than a fit needs: how many are lost, and what to change."""
    found, needed = len(tables.usable(table)), tables.fewest(table["almr"], table["lr"])
    if found >= needed:
        return
    name = table.attrs.get("file", name)
    own = table[~table["excluded"].isin(tables.FOREIGN)]
    most = lost.summary([_end(*row) for row in zip(own["status"], own["excluded"], own["lr"], strict=True)])
    if most and not found:
        raise InputError(f"{name}: {most}")
    what = "surface" if needed == MINIMUM_TRIALS else "fit of one hyper-parameter"
    few = f"{found} usable trials: a {what} needs {needed} or more"
    raise InputError(f"{name}: {most}; {few}" if most else f"{name}: {few}; {_fewer(table)}")


def _end(status: str, excluded: object, lr: float) -> TrialEnd:
    reason = str(excluded).removeprefix(f"{status}: ")
    return TrialEnd(str(status), "no reason recorded" if reason in ("None", "nan") else reason, float(lr))


def _fewer(table: pd.DataFrame) -> str:
    """How many rows are not used, and what to do about most of them."""
    why = [str(reason).partition(":")[0] for reason in table["excluded"].dropna()]
    counts = {kind: why.count(kind) for kind in (Status.DIVERGED.value, Status.FAILED.value)}
    counts["excluded"] = len(why) - sum(counts.values())
    if not why:
        return "add trials"
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{listed}: {FIXES[max(counts, key=lambda kind: counts[kind])]}"
