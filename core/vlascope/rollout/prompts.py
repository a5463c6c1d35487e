"""Does a changed instruction reach the policy? Looked at before it costs a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vlascope.adapter import VLAAdapter
from vlascope.errors import EditMisfired
from vlascope.hooks import HookPoint
from vlascope.noise import generator_for
from vlascope.records import EpisodeRecord
from vlascope.types import Observation

__all__ = ["LEAST_CHANGE", "Reach", "reach", "verify_carried"]

LEAST_CHANGE: Final = 1e-5
"""||dx|| / ||x|| below which two activations count as equal: floating point, not language."""

_STREAM = "instruction"


@dataclass(frozen=True)
class Reach:
    """What another instruction changes at the policy's first layers.

    Attributes:
        change: ||dx|| / ||x||, the largest over `at`; None where no stream carries instructions.
        at: the hook points compared: the first layer of every pathway that carries instructions.
    """

    change: float | None
    at: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether the policy is known to see no difference."""
        return self.change is not None and self.change < LEAST_CHANGE


def reach(adapter: VLAAdapter, own: str, told: str) -> Reach:
    """Compare two instructions on one example observation: one forward pass, cut short.

    The two are the rows of one batch with equal pictures, state and noise, so that whatever
    differs, differs by the instruction. Call it while nothing else is hooked.
    """
    from vlascope.recording import capture

    seen = adapter.example_observation()
    rows = [replace(seen, instruction=own), replace(seen, instruction=told)]
    points = _first_points(adapter, rows)
    if not points:
        return Reach(None)
    names = [str(p) for p in points]
    cache = capture(adapter, rows, names, generators=[generator_for(0), generator_for(0)])
    change = 0.0
    for captured in (c for point in points for c in cache[point]):
        before, after = (row.double() for row in captured.rows)
        scale = max(float(before.norm()), 1e-12)
        change = max(change, float((after - before).norm()) / scale)
    return Reach(change, tuple(names))


def verify_carried(record: EpisodeRecord) -> None:
    """Refuse an episode in which the policy was asked without the changed instruction.

    Raises:
        EditMisfired: with both counts.
    """
    receipt = record.prompt
    if receipt is not None and receipt.carried != receipt.inferences:
        raise EditMisfired(
            f"episode {record.plan.episode}: {receipt.carried} of {receipt.inferences} "
            f"observations carried the changed instruction {record.instruction!r}"
        )


def _first_points(adapter: VLAAdapter, rows: Sequence[Observation]) -> list[HookPoint]:
    """Live points of the first layer of every pathway that carries the instruction."""
    spans = adapter.token_spans(rows)
    carrying = {
        name.split(".")[0] for name, found in spans.items() if any(_STREAM in row for row in found)
    }
    carrying |= {p.name for p in adapter.info.pathways if _STREAM in p.mixes}
    points = [
        p for p in adapter.hook_points() if p.pathway in carrying and p not in adapter.dead_points()
    ]
    layers = [(p, p.layer) for p in points if p.layer is not None]
    first: dict[str, int] = {}
    for point, layer in layers:
        first[point.pathway] = min(layer, first.get(point.pathway, layer))
    return [p for p, layer in layers if layer == first[p.pathway]]
