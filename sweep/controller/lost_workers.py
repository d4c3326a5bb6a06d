"""What Ray and Tune do in this process when a worker is lost: its trial fails and is tried again; nothing is printed.

These are settings that Ray does not offer; what is replaced is looked up by name in its modules when it is used.
"""

from __future__ import annotations

from typing import Any

import ray._private.worker
import ray.tune.tune
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.error import TuneError
from ray.tune.execution import tune_controller
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

# A cluster of the user's has Ray's memory monitor on. The end of an actor that it killed is no RayActorError: Tune's
# loop raises it, so that the whole sweep would end. Both modules only ask isinstance of the class.
ENDS_OF_ACTORS = (RayActorError, OutOfMemoryError)


class _Loop(TuneController):
    """Tune's loop, in which a trial that is given to a free worker is given to another one where that has died, or does
    not answer. No attempt at the trial has begun.

    Tune would let it fail without a retry, as it is told of the end twice; or forget it, with nobody told.
    """

    _known: Exception | None = None  # the end of a free worker, of which the trial's call tells too

    def _trial_task_failure(self, trial: Trial, exception: Exception) -> None:
        if exception is self._known:
            self._known = None
        elif trial in self._resetting_trials and isinstance(exception, ENDS_OF_ACTORS):
            self._resetting_trials.remove(trial)
            self._known = exception
            self._try_recover(trial, exc=TuneError(str(exception)))
        else:
            super()._trial_task_failure(trial, exception)

    def _on_trial_reset(self, trial: Trial, success: bool) -> None:
        if success:
            super()._on_trial_reset(trial, success)
        else:
            self._resetting_trials.remove(trial)
            self._unstage_trial_with_resources(trial)
            self._set_trial_status(trial, Trial.RUNNING)
            self._try_recover(trial, exc=TuneError("a thread of the trial before still runs in its worker"))


def fail_their_trials() -> None:
    """Have Tune treat each end of a worker alike, and Ray print none on standard output: the record says why."""
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = ENDS_OF_ACTORS
    vars(ray.tune.tune)[TuneController.__name__] = _Loop
    ray._private.worker.print_to_stdstream = _print_nothing


def _print_nothing(*arguments: Any, **named: Any) -> None:
    pass
