"""The anatomy of a loaded policy as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.anatomy.counting import ParameterCount, ParameterShares, count_parameters
from vlascope.hooks import ATTENTION_SITE, BLOCK_SITES, HookPoint, Pathway
from vlascope.types import Observation

__all__ = ["SCHEMA", "Anatomy", "PathwayAnatomy", "SpansAt", "look"]

SCHEMA = "vlascope.anatomy/1"
"""Version of what `Anatomy.as_json` gives; a field is renamed or removed only with the version."""

_SHOWN_CALLS = 2
"""How many calls are looked at where their number depends on the input."""


@dataclass(frozen=True)
class SpansAt:
    """Token spans of the example observation, where and when they hold.

    Attributes:
        where: the pathway, `pathway.layer` or hook point whose tokens these are.
        calls: the calls of a chunk in which they are so.
        spans: (start, stop) by stream.
    """

    where: str
    calls: tuple[int, ...]
    spans: Mapping[str, tuple[int, int]]

    @property
    def tokens(self) -> int:
        """How many there are."""
        return max((stop for _, stop in self.spans.values()), default=0)


@dataclass(frozen=True)
class PathwayAnatomy:
    """One stack of blocks.

    Attributes:
        declared: what the adapter says of it.
        sites: the blocks that have each site, sites in forward order.
        attention: the blocks whose attention probabilities can be read.
        named: hook points outside the blocks.
        dead: hook points whose value cannot reach the action.
        spans: token spans of the example observation; empty where the adapter declares none.
        parameters: see `ParameterShares`; None where the taps name no module of its own.
    """

    declared: Pathway
    sites: Mapping[str, tuple[int, ...]]
    attention: tuple[int, ...]
    named: tuple[str, ...]
    dead: tuple[str, ...]
    spans: tuple[SpansAt, ...]
    parameters: ParameterCount | None

    @property
    def points(self) -> int:
        """How many hook points there are, attention aside."""
        return sum(map(len, self.sites.values())) + len(self.named)


@dataclass(frozen=True)
class Anatomy:
    """A loaded policy.

    Attributes:
        network: the class of the network.
        dtypes: of its parameters.
        info: what its adapter says of it.
        capabilities: the optional abilities that the adapter declares.
        example: the instruction of the example observation.
        pathways: in the order information flows.
        parameters: who holds them.
    """

    network: str
    dtypes: tuple[str, ...]
    info: AdapterInfo
    capabilities: tuple[str, ...]
    example: str
    pathways: tuple[PathwayAnatomy, ...]
    parameters: ParameterShares

    @property
    def points(self) -> int:
        """How many hook points there are, attention aside."""
        return sum(pathway.points for pathway in self.pathways)

    @property
    def dead(self) -> tuple[str, ...]:
        """Hook points whose value cannot reach the action."""
        return tuple(point for pathway in self.pathways for point in pathway.dead)

    def as_json(self) -> dict[str, Any]:
        """Plain data of the schema `SCHEMA`."""
        return {
            "schema": SCHEMA,
            **asdict(self.info),
            "network": self.network,
            "dtypes": list(self.dtypes),
            "capabilities": list(self.capabilities),
            "example_instruction": self.example,
            "pathways": [_as_json(pathway) for pathway in self.pathways],
            "hook_points": self.points,
            "dead_points": list(self.dead),
            "parameters": asdict(self.parameters),
        }


def look(adapter: VLAAdapter) -> Anatomy:
    """What a policy is made of: its adapter's declarations and its modules. Nothing is inferred."""
    points, attention = adapter.hook_points(), adapter.attention_points()
    example, dead = adapter.example_observation(), adapter.dead_points()
    shares = count_parameters(adapter.model, {**points, **attention})
    return Anatomy(
        network=type(adapter.model).__name__,
        dtypes=tuple(sorted({str(p.dtype)[6:] for p in adapter.model.parameters()})),
        info=adapter.info,
        capabilities=tuple(sorted(adapter.capabilities)),
        example=example.instruction,
        pathways=tuple(
            PathwayAnatomy(
                declared=pathway,
                sites=_sites(_of(pathway, points)),
                attention=_sites(_of(pathway, attention)).get(ATTENTION_SITE, ()),
                named=tuple(str(p) for p in _of(pathway, points) if p.layer is None),
                dead=tuple(map(str, _of(pathway, dead))),
                spans=_spans(adapter, pathway, example),
                parameters=shares.pathways.get(pathway.name),
            )
            for pathway in adapter.info.pathways
        ),
        parameters=shares,
    )


def _of(pathway: Pathway, points: Iterable[HookPoint]) -> list[HookPoint]:
    return sorted(p for p in points if p.pathway == pathway.name)


def _sites(points: Sequence[HookPoint]) -> dict[str, tuple[int, ...]]:
    """Layers by site."""
    return {
        site: layers
        for site in (*BLOCK_SITES, ATTENTION_SITE)
        if (layers := tuple(p.layer for p in points if p.site == site and p.layer is not None))
    }


def _spans(adapter: VLAAdapter, pathway: Pathway, example: Observation) -> tuple[SpansAt, ...]:
    """What the adapter says of this pathway's tokens, calls that are alike taken together."""
    found: dict[tuple[str, tuple[tuple[str, tuple[int, int]], ...]], list[int]] = {}
    for call in range(pathway.calls_per_chunk or _SHOWN_CALLS):
        for where, rows in adapter.token_spans([example], call=call).items():
            if where.partition(".")[0] == pathway.name:
                found.setdefault((where, tuple(rows[0].pairs().items())), []).append(call)
    return tuple(
        SpansAt(where, tuple(calls), dict(pairs)) for (where, pairs), calls in found.items()
    )


def _as_json(pathway: PathwayAnatomy) -> dict[str, Any]:
    return {
        **asdict(pathway.declared),
        "sites": {site: list(layers) for site, layers in pathway.sites.items()},
        "attention": list(pathway.attention),
        "named_points": list(pathway.named),
        "dead_points": list(pathway.dead),
        "token_spans": [asdict(spans) for spans in pathway.spans],
        "hook_points": pathway.points,
        "parameters": None if pathway.parameters is None else asdict(pathway.parameters),
    }
