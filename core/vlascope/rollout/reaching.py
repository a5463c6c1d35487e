"""Planned episodes with what their changed instructions do to the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlascope.adapter import VLAAdapter
from vlascope.errors import EditMisfired
from vlascope.rollout.flight import Planned
from vlascope.rollout.prompts import Reach, reach

__all__ = ["reaching"]


def reaching(adapter: VLAAdapter, planned: Sequence[Planned]) -> list[Planned]:
    """The same episodes; every pair of own and changed instruction is compared once.

    Raises:
        EditMisfired: the policy sees no difference between the two, so that playing the episode
            would say nothing about the changed one.
    """
    known: dict[tuple[str, str], Reach] = {}
    found = []
    for one in planned:
        texts = one.texts
        if texts[0] == texts[1]:
            found.append(one)
            continue
        if texts not in known:
            known[texts] = reach(adapter, *texts)
        if known[texts].lost:
            raise EditMisfired(
                f"{one.plan.episode}: the changed instruction {texts[1]!r} never reaches "
                f"{adapter.info.name}: its activations at {', '.join(known[texts].at)} are those "
                f"of {texts[0]!r}; see what predict_chunk does with observation.instruction, and "
                "whether the text is cut off or made of words the policy does not tell apart"
            )
        found.append(replace(one, reach=known[texts]))
    return found
