"""What Ray and Tune do in this process when a worker is lost: its trial fails and is tried again; nothing is printed.

Both are settings that Ray does not offer; what is replaced is looked up by name in its modules when it is used.
"""

from __future__ import annotations

from typing import Any

import ray._private.worker
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller

# A cluster of the user's has Ray's memory monitor on. The end of an actor that it killed is no RayActorError: Tune's
# loop raises it, so that the whole sweep would end. Both modules only ask isinstance of the class.
ENDS_OF_ACTORS = (RayActorError, OutOfMemoryError)


def fail_their_trials() -> None:
    """Have Tune treat each end of a worker alike, and Ray print none on standard output: the record says why."""
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = ENDS_OF_ACTORS
    ray._private.worker.print_to_stdstream = _print_nothing


def _print_nothing(*arguments: Any, **named: Any) -> None:
    pass
