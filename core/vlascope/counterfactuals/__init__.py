"""Instructions that say something else, and what a policy makes of the difference."""

from vlascope.counterfactuals.structure import by_structure, scene_partners
from vlascope.counterfactuals.variants import VARIANTS, Variant, can_vary, instruction_variant

__all__ = [
    "VARIANTS",
    "Variant",
    "by_structure",
    "can_vary",
    "instruction_variant",
    "scene_partners",
]
