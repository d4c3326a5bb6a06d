"""What is refused of a study before anything is written."""

from __future__ import annotations

from sweep.planning import epochs, scoring, warnings
from sweep.preflight import checks
from sweep.store.run import Run
from sweep.study import InputError, Study, study_file
from sweep.trials.followers.notify import notifier
from trainers.trials import recorded


def at_once(study: Study, run: Run, also: int, address: str | None) -> None:
    """Raises InputError for what can be known before anything is written. `also`: trials that the user named."""
    if fault := warnings.too_small(study, also):
        raise InputError(f"study {study.name}: {fault}")
    without_folder(study, run)
    run.refuse_foreign()
    if fault := study_file.own_rung(study, run.folder):
        raise InputError(fault)
    recorded.refuse_unusable(study)
    notifier.refuse_silent(study.notify)
    if not address:
        scoring.refuse_without_sandbox(study)
    epochs.refuse_early(study, made.corpora if (made := run.ingredients()) else {})


def without_folder(study: Study, run: Run) -> None:
    """Raises InputError where the study needs a run on a file system, and this one is on an object store."""
    if faults := checks.needs_a_folder(study, run.mirror is not None):
        raise InputError("\n".join(f"{run.address}: {fault}" for fault in faults))
