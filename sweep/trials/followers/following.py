"""Who follows a run: the tools and notifications that its study asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sweep.store.run import Run
from sweep.study import Study
from sweep.study.errors import one_line
from sweep.trials.followers.follower import End, Follower, Followers, Tell
from sweep.trials.followers.notify.notifier import Notifier
from sweep.trials.followers.optuna.live import OptunaLive
from sweep.trials.followers.tracked_runs import TrackedRuns
from trainers.tracking import packages

if TYPE_CHECKING:
    from analysis.fit_file.result import FitResult


class Following(Followers):
    """The followers of a run, with what its session came to."""

    result: End | None = None

    def concluded(self, fitted: FitResult, word: str) -> None:
        """`word`: the verdict of the page."""
        refused = "; ".join(f"{one.code}: {one.message}" for one in fitted.refusals)
        self.result = End("refused" if refused else "finished", refused, word, fitted)


@contextlib.contextmanager
def followed(study: Study, run: Run, tell: Tell) -> Iterator[Following]:
    """Follow a session of a run, to its end or to what ends it."""
    following = Following(_asked_for(study, run, tell), tell)
    following.open()
    try:
        yield following
    except KeyboardInterrupt:
        following.close(End("interrupted"))
        raise
    except Exception as error:
        following.close(End("failed", one_line(error)))
        raise
    following.close(following.result or End("finished"))


def _asked_for(study: Study, run: Run, tell: Tell) -> list[Follower]:
    makers: list[tuple[bool, Callable[[], Follower]]] = [
        # A package that is missing is refused before the first trial.
        (not study.replay and not packages.missing(study.tracking), lambda: TrackedRuns(study, run, tell)),
        (bool(study.tracking.optuna), lambda: OptunaLive(study, run)),
        (bool(study.notify), lambda: Notifier(study, run, tell)),
    ]
    return [make() for wanted, make in makers if wanted]
