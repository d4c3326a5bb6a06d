"""The content of each figure as plain data: `*_info` computes it from a fit, analysis.figures.drawing draws it.

Losses are in nats per token and LRs are peak LRs.
"""

from analysis.figures.data.languages import FrontInfo, LanguagesInfo, front_info, languages_info
from analysis.figures.data.objective import ObjectiveInfo, objective_info
from analysis.figures.data.scores import ScoreChange, ScoresInfo, scores_info
from analysis.figures.data.simulation import SimulationInfo, StrategyLine, simulation_info
from analysis.figures.data.slices import Slice, SlicesInfo, slices_info
from analysis.figures.data.training import LossCurve, TrainingInfo, training_info

__all__ = [
    "FrontInfo",
    "LanguagesInfo",
    "LossCurve",
    "ObjectiveInfo",
    "ScoreChange",
    "ScoresInfo",
    "SimulationInfo",
    "Slice",
    "SlicesInfo",
    "StrategyLine",
    "TrainingInfo",
    "front_info",
    "languages_info",
    "objective_info",
    "scores_info",
    "simulation_info",
    "slices_info",
    "training_info",
]
