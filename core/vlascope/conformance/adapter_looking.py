"""Promises about names, recording and token spans."""

from __future__ import annotations

import torch

from vlascope.conformance.adapter_subject import AdapterSubject, apart
from vlascope.conformance.results import fail
from vlascope.errors import EditMisfired
from vlascope.hooks import BLOCK_SITES, HookPoint, TokenSpans
from vlascope.interventions import Identity
from vlascope.recording import ActivationCache

__all__ = ["CHECKS"]


def names_round_trip(subject: AdapterSubject) -> None:
    """Every hook point's name reads back, lies in a declared pathway and layer; all have some."""
    info, points = subject.adapter.info, subject.adapter.hook_points()
    layers = {p.name: p.n_layers for p in info.pathways}
    for point in points:
        if HookPoint.parse(str(point)) != point:
            fail(f"{point!r} does not read back from {str(point)!r}: use lower-case names")
        if point.pathway not in layers:
            fail(f"{point} is in no declared pathway {list(layers)}: add it to info.pathways")
        if point.layer is not None and not 0 <= point.layer < layers[point.pathway]:
            fail(f"{point} lies outside the {layers[point.pathway]} layers that info declares")
    for name, n_layers in layers.items():
        posts = {p.layer for p in points if p.pathway == name and p.site == "resid_post"}
        missing = sorted(set(range(n_layers)) - posts)
        if missing:
            fail(f"{name} names no resid_post in layers {missing}: add them to hook_points()")


def points_fire_as_declared(subject: AdapterSubject) -> None:
    """Every point shows (batch, tokens, width) as often in a chunk as its pathway declares."""
    adapter, rows = subject.adapter, subject.examples(0, 1)
    try:
        with adapter.record("*") as seen:
            subject.act(rows)
    except EditMisfired as error:
        fail(str(error))
    for point, firings in seen.items():
        pathway = adapter.info.pathway(point.pathway)
        if pathway.calls_per_chunk not in (None, len(firings)) or not firings:
            fail(f"{point} fired {len(firings)} times, declared are {pathway.calls_per_chunk}")
        width = pathway.width_at(point.site, point.layer)
        for row in (row for firing in firings for row in firing.rows):
            if row.ndim != 2 or (width is not None and row.shape[1] != width):
                fail(
                    f"{point} shows rows of shape {tuple(row.shape)}, its pathway declares "
                    f"(tokens, {width}): let the tap present (batch, tokens, width), or correct "
                    "width and ffn_width"
                )


def looking_changes_nothing(subject: AdapterSubject) -> None:
    """Recording everything, or editing by the identity, leaves the actions as they were."""
    adapter, before = subject.adapter, subject.act()
    with adapter.record("*"):
        recorded = subject.act()
    if apart(recorded, before) != 0:
        fail(
            f"recording changed the actions by {apart(recorded, before):.3g}: let taps return None "
            "where the edit does, and draw no noise when observed"
        )
    with adapter.intervene(Identity(at=("*",))):
        edited = subject.act()
    if apart(edited, before) > 1e-5 * max(1.0, float(abs(before).max())):
        fail(
            f"the identity edit changed the actions by {apart(edited, before):.3g}: a tap must "
            "put back exactly what the edit returns, in the network's own layout"
        )


def recording_clones(subject: AdapterSubject) -> None:
    """What was recorded stays what it was when the policy runs on."""
    adapter, (mine, other) = subject.adapter, subject.examples(0, 1)
    with adapter.record("*") as seen:
        subject.act([mine])
        kept = {p: [r.clone() for c in seen[p] for r in c.rows] for p in seen}
        subject.act([other], noise=9)
    for point, rows in kept.items():
        later = [r for c in seen[point] for r in c.rows]
        if not all(torch.equal(a, b) for a, b in zip(rows, later, strict=False)):
            fail(f"what was recorded at {point} changed when the policy ran again: keep a clone")


def token_spans_cover_the_sequence(subject: AdapterSubject) -> None:
    """Token spans name every token of every pathway, without gaps, row by row."""
    adapter, rows = subject.adapter, subject.examples(0, 1)
    with adapter.record("*") as seen:
        subject.act(rows)
    for point in (p for p in seen if p.site in BLOCK_SITES):
        _covered(point, seen)


def _covered(point: HookPoint, seen: ActivationCache) -> None:
    for captured in seen[point]:
        spans = captured.firing.spans
        if len(spans) != len(captured.rows):
            fail(
                f"token_spans() gives {len(spans)} entries for the {len(captured.rows)} rows of "
                f"{point.pathway}: return one TokenSpans per row for every pathway"
            )
        for row, span in zip(captured.rows, spans, strict=True):
            if span.n_tokens != len(row) or _gaps(span):
                fail(
                    f"{point} has {len(row)} tokens, its spans are {span.pairs()}: name every "
                    "token (`padding` is a name too)"
                )


def _gaps(spans: TokenSpans) -> bool:
    pairs = list(spans.pairs().values())
    starts = [0, *(stop for _, stop in pairs)]
    return any(start != end for (start, _), end in zip(pairs, starts, strict=False))


CHECKS = (
    names_round_trip,
    points_fire_as_declared,
    looking_changes_nothing,
    recording_clones,
    token_spans_cover_the_sequence,
)
