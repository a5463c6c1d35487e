"""What a loaded policy is made of, as data (`look`) and on a terminal (`draw`)."""

from vlascope.anatomy.counting import ParameterCount, ParameterShares, count_parameters
from vlascope.anatomy.drawing import draw
from vlascope.anatomy.looking import SCHEMA, Anatomy, PathwayAnatomy, SpansAt, look

__all__ = [
    "SCHEMA",
    "Anatomy",
    "ParameterCount",
    "ParameterShares",
    "PathwayAnatomy",
    "SpansAt",
    "count_parameters",
    "draw",
    "look",
]
