"""Names for the places inside a policy, the times at which they fire, and the tokens they carry.

Nothing here imports torch, so names can be listed, parsed and checked in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from vlascope.errors import InvalidName, UnknownName

__all__ = [
    "ATTENTION_SITE",
    "BLOCK_SITES",
    "Firing",
    "HookPoint",
    "Moment",
    "Pathway",
    "TokenSpans",
    "match_points",
]

BLOCK_SITES: Final = ("resid_pre", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post")
"""The sites of a block in the order the forward pass reaches them (TransformerLens' names)."""

ATTENTION_SITE: Final = "attn_probs"
"""Attention probabilities, (batch, heads, queries, keys): read on request, no part of `*`."""

_LAYERED = re.compile(r"(?P<pathway>[a-z][a-z0-9_]*)\.(?P<layer>0|[1-9]\d*)\.(?P<site>[a-z_]+)")
_NAMED = re.compile(r"(?P<pathway>[a-z][a-z0-9_]*)\.(?P<site>[a-z][a-z0-9_]*)")
_SITES = (*BLOCK_SITES, ATTENTION_SITE)


@dataclass(frozen=True)
class HookPoint:
    """One place inside a policy: `expert.12.resid_post`, or a named one: `vision.projector`.

    Attributes:
        pathway: the stack of blocks it belongs to.
        layer: the block's index from 0, or None for a named point outside the blocks.
        site: where in the block (one of `BLOCK_SITES`), or the point's own name.
    """

    pathway: str
    layer: int | None
    site: str

    def __str__(self) -> str:
        return ".".join(str(p) for p in (self.pathway, self.layer, self.site) if p is not None)

    def __lt__(self, other: HookPoint) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[str, float, int, str]:
        rank = _SITES.index(self.site) if self.site in _SITES else len(_SITES)
        return (self.pathway, float("inf") if self.layer is None else self.layer, rank, self.site)

    @classmethod
    def parse(cls, name: str) -> HookPoint:
        """Read a name back: `HookPoint.parse(str(point)) == point`.

        Raises:
            InvalidName: the text is neither `pathway.layer.site` nor `pathway.name`.
        """
        if (found := _LAYERED.fullmatch(name)) and found["site"] in _SITES:
            return cls(found["pathway"], int(found["layer"]), found["site"])
        if (found := _NAMED.fullmatch(name)) and found["site"] not in _SITES:
            return cls(found["pathway"], None, found["site"])
        raise InvalidName(
            f"{name!r} is no hook point; write pathway.layer.site with a site of "
            f"{', '.join(_SITES)}, or pathway.name for a named point"
        )


@dataclass(frozen=True)
class Pathway:
    """A stack of blocks through which one token stream runs.

    Attributes:
        name: `vision`, `vlm`, `expert`, `trunk`, `encoder`, `decoder`, ...
        n_layers: number of blocks.
        width: size of the residual stream (at the last block, where blocks differ).
        calls_per_chunk: forward passes one action chunk takes: 1 for a prefix, the number of
            cameras for a vision tower run per camera, of denoise steps for a flow expert. None
            where it depends on the input (an autoregressive policy that may stop early).
        mixes: the token streams that attend to each other here.
        ffn_width: number of FFN neurons (the width at `mlp_act`), 0 where there is no such site.
        read_per_layer: whether another pathway reads every layer of this one (keys and values of
            each block), so that no single `resid_post` carries all that leaves it.
        block_widths: size of what leaves each block, where blocks differ (a convolutional tower);
            the width of their other sites is not declared.
    """

    name: str
    n_layers: int
    width: int
    calls_per_chunk: int | None = 1
    mixes: tuple[str, ...] = ()
    ffn_width: int = 0
    read_per_layer: bool = False
    block_widths: tuple[int, ...] = ()

    def width_at(self, site: str, layer: int | None = None) -> int | None:
        """The last dimension of an activation at `site`; None where it is not declared."""
        if site == "mlp_act" and self.ffn_width:
            return self.ffn_width
        if self.block_widths:
            return self.block_widths[layer] if layer is not None and site == "resid_post" else None
        return self.width if site in BLOCK_SITES and site != "mlp_act" else None


@dataclass(frozen=True)
class Moment:
    """When an activation happened: episode, environment step, chunk, and call in the chunk."""

    episode: str
    step: int
    chunk: int
    call: int = 0

    def at_call(self, call: int) -> Moment:
        """The same moment on another call."""
        return replace(self, call=call)


class TokenSpans(Mapping[str, slice]):
    """Which tokens carry which stream: `image.wrist`, `instruction`, `state`, `action`, `padding`.

    Spans are half-open, in order and disjoint.
    """

    def __init__(self, spans: Mapping[str, tuple[int, int] | slice]) -> None:
        pairs = {
            name: (span.start, span.stop) if isinstance(span, slice) else (span[0], span[1])
            for name, span in spans.items()
        }
        self._pairs = dict(sorted(pairs.items(), key=lambda item: item[1]))
        end = 0
        for name, (start, stop) in self._pairs.items():
            if start < end or stop < start:
                raise ValueError(f"span {name!r} = [{start}, {stop}) overlaps or runs backwards")
            end = stop

    @classmethod
    def of_lengths(cls, lengths: Mapping[str, int]) -> TokenSpans:
        """Spans laid end to end in the order given; zero lengths are left out."""
        spans, start = {}, 0
        for name, length in lengths.items():
            if length:
                spans[name] = (start, start + length)
            start += length
        return cls(spans)

    def __getitem__(self, name: str) -> slice:
        if name not in self._pairs:
            raise UnknownName(f"no token span {name!r}; this pathway carries {list(self._pairs)}")
        return slice(*self._pairs[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"TokenSpans({self._pairs})"

    @property
    def n_tokens(self) -> int:
        """The end of the last span."""
        return max((stop for _, stop in self._pairs.values()), default=0)

    def match(self, patterns: Iterable[str]) -> list[str]:
        """The streams that any of the globs names, in token order; may be empty."""
        wanted = list(patterns)
        return [name for name in self if any(fnmatchcase(name, p) for p in wanted)]

    def among(self, kept: Sequence[int]) -> TokenSpans:
        """The same streams counted among kept tokens (ascending); emptied ones are left out."""
        if len(kept) == self.n_tokens:
            return self
        places = {
            name: [place for place, token in enumerate(kept) if start <= token < stop]
            for name, (start, stop) in self._pairs.items()
        }
        return TokenSpans({name: (at[0], at[-1] + 1) for name, at in places.items() if at})

    def pairs(self) -> dict[str, tuple[int, int]]:
        """Plain (start, stop) by name, fit for JSON."""
        return dict(self._pairs)


@dataclass(frozen=True)
class Firing:
    """One time that one hook point was computed, for every row of the batch.

    Attributes:
        point: where.
        call: the k-th time within this chunk.
        moments: when, one per row, with `call` filled in.
        spans: which tokens carry what, one per row; empty where the adapter declares none.
    """

    point: HookPoint
    call: int
    moments: tuple[Moment, ...]
    spans: tuple[TokenSpans, ...] = ()

    def rows(self, index: Sequence[int]) -> Firing:
        """The same firing, of some rows only."""
        return replace(
            self,
            moments=tuple(self.moments[i] for i in index),
            spans=tuple(self.spans[i] for i in index) if self.spans else (),
        )


def match_points(
    patterns: str | Sequence[str], points: Iterable[HookPoint], owner: str
) -> list[HookPoint]:
    """The hook points that a glob (or any of several) names, in forward order within a pathway.

    Raises:
        UnknownName: a glob matches nothing; the message lists what exists.
    """
    known = sorted(points)
    globs = [patterns] if isinstance(patterns, str) else list(patterns)
    for glob in globs:
        if not any(fnmatchcase(str(p), glob) for p in known):
            raise UnknownName(
                f"{glob!r} names no hook point of {owner}; it has {', '.join(_summary(known))}"
            )
    return [p for p in known if any(fnmatchcase(str(p), glob) for glob in globs)]


def _summary(points: Sequence[HookPoint]) -> list[str]:
    """Hook points with their layers folded: `vlm.{0..3}.resid_post`."""
    layers: dict[tuple[str, str], list[int]] = {}
    for p in points:
        layers.setdefault((p.pathway, p.site), [])
        if p.layer is not None:
            layers[p.pathway, p.site].append(p.layer)
    return [
        f"{pathway}.{{{min(found)}..{max(found)}}}.{site}" if found else f"{pathway}.{site}"
        for (pathway, site), found in layers.items()
    ]
