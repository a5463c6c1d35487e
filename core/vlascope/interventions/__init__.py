"""Edits made to activations while a policy acts."""

from vlascope.interventions.ablate import Identity, MeanAblate, ResampleAblate, ZeroAblate
from vlascope.interventions.closed_loop import SteerTo
from vlascope.interventions.inject import Inject, InjectSubspace
from vlascope.interventions.intervention import Intervention
from vlascope.interventions.parse import parse_intervention
from vlascope.interventions.steer import Clamp, ProjectOut, RandomDirection, Steer

__all__ = [
    "Clamp",
    "Identity",
    "Inject",
    "InjectSubspace",
    "Intervention",
    "MeanAblate",
    "ProjectOut",
    "RandomDirection",
    "ResampleAblate",
    "Steer",
    "SteerTo",
    "ZeroAblate",
    "parse_intervention",
]
