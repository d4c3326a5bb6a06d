"""What each figure shows, as plain data: `*_info` gathers it from a fit and analysis.plots draws it.

Losses are in nats per token and LRs are peak LRs.
"""

from analysis.plot_data.languages import FrontInfo, LanguagesInfo, front_info, languages_info
from analysis.plot_data.objective import ObjectiveInfo, objective_info
from analysis.plot_data.scores import ScoreChange, ScoresInfo, scores_info
from analysis.plot_data.simulation import Line, SimulationInfo, simulation_info
from analysis.plot_data.slices import Slice, SlicesInfo, slices_info
from analysis.plot_data.training import Curve, TrainingInfo, training_info

__all__ = [
    "Curve",
    "FrontInfo",
    "LanguagesInfo",
    "Line",
    "ObjectiveInfo",
    "ScoreChange",
    "ScoresInfo",
    "SimulationInfo",
    "Slice",
    "SlicesInfo",
    "TrainingInfo",
    "front_info",
    "languages_info",
    "objective_info",
    "scores_info",
    "simulation_info",
    "slices_info",
    "training_info",
]
