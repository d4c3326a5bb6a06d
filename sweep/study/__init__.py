"""What is swept and what came of it: the schemas of studies, trials and records, which every room may import."""

from sweep.study.errors import InputError
from sweep.study.fields import LANGUAGES, Schema
from sweep.study.ingredients import CorpusFacts, Ingredients
from sweep.study.record import Horizon, PerLanguage, Proposed, Record, Score, SourceResult, Status, Trial
from sweep.study.sections.objective import Objective, Weights
from sweep.study.sections.text.corpora import CorpusSource
from sweep.study.study import MINIMUM_TRIALS, Study

__all__ = [
    "LANGUAGES",
    "MINIMUM_TRIALS",
    "CorpusFacts",
    "CorpusSource",
    "Horizon",
    "Ingredients",
    "InputError",
    "Objective",
    "PerLanguage",
    "Proposed",
    "Record",
    "Schema",
    "Score",
    "SourceResult",
    "Status",
    "Study",
    "Trial",
    "Weights",
]
