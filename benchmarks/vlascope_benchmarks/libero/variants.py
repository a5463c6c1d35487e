"""LIBERO-PRO's things that hf-libero does not know: known ones in another colour or size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["register_variants"]

_VARIANT_OF: Mapping[str, str] = {
    "bigger_akita_black_bowl": "akita_black_bowl",
    "bigger_alphabet_soup": "alphabet_soup",
    "black_bowl": "akita_black_bowl",
    "blue_ketchup": "ketchup",
    "brown_rack": "wine_rack",
    "green_bbq_sauce": "bbq_sauce",
    "green_butter": "butter",
    "green_chocolate_pudding": "chocolate_pudding",
    "red_basket": "basket",
    "red_cream_cheese": "cream_cheese",
    "red_salad_dressing": "salad_dressing",
    "white_bottle": "wine_bottle",
    "yellow_cabinet": "wooden_cabinet",
    "yellow_milk": "milk",
    "yellow_moka_pot": "moka_pot",
    "yellow_plate": "plate",
    "yellow_stove": "flat_stove",
    "yellow_tomato_sauce": "tomato_sauce",
}
"""Each with a folder of its own among the assets, and the thing whose behaviour it has."""


def register_variants() -> None:
    """Add to hf-libero's table of things those it lacks; again is fine."""
    from libero.libero.envs.base_object import OBJECTS_DICT, VISUAL_CHANGE_OBJECTS_DICT

    for name, original in _VARIANT_OF.items():
        if name in OBJECTS_DICT:
            continue
        OBJECTS_DICT[name] = _variant(name, OBJECTS_DICT[original])
        if original in VISUAL_CHANGE_OBJECTS_DICT:
            VISUAL_CHANGE_OBJECTS_DICT[name] = OBJECTS_DICT[name]


def _variant(category: str, original: Any) -> type:
    def __init__(self: Any, name: str = category, obj_name: str = category, **options: Any) -> None:
        original.__init__(self, name, obj_name, **options)

    return type(category.title().replace("_", ""), (original,), {"__init__": __init__})
