"""What every trial of a run needs before the first one starts."""

from trainers.prepare.fetched import fetch
from trainers.prepare.ingredients import prepare

__all__ = ["fetch", "prepare"]
