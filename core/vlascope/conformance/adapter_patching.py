"""The promise that matters most: `resid_post` is the whole state of a pathway."""

from __future__ import annotations

import torch
from torch import Tensor

from vlascope.conformance.adapter_subject import AdapterSubject
from vlascope.conformance.results import fail, skip
from vlascope.hooks import HookPoint, Pathway
from vlascope.interventions import Inject, RandomDirection
from vlascope.recording import ActivationCache
from vlascope.types import FloatArray

__all__ = ["CHECKS"]

_RELATIVE, _FLOATING = 2e-3, 2e-5


def patching_is_exact(subject: AdapterSubject) -> None:
    """Putting in `resid_post` of another run gives that run from there on, to the action.

    The other run is the same policy on the same observation and noise, pushed off course where
    the pathway begins. Whatever else feeds the pathway or bypasses it (other pathways, the noise,
    the state) is therefore equal in both runs, and everything after the patch must be the other
    run's: the point itself read back, every later point of the pathway, and the action, also at
    the last layer. Two rows at once, so that a tap with the wrong layout fails too.
    """
    tried = [_exact(subject, pathway) for pathway in subject.adapter.info.pathways]
    if not any(tried):
        skip("every resid_post is declared dead")


def _exact(subject: AdapterSubject, pathway: Pathway) -> bool:
    """Check every live `resid_post` of one pathway; whether there was one."""
    points = subject.blocks(pathway.name)
    dead = subject.adapter.dead_points()
    posts = [p for p in points if p.site == "resid_post" and p not in dead]
    if not posts:
        return False
    globs = [str(p) for p in points]
    rows = subject.examples(0, 1)
    calls = None if pathway.calls_per_chunk else (0,)
    with subject.adapter.record(globs) as plain:
        here = subject.act(rows)
    push = RandomDirection(at=(globs[0],), strength=0.5, calls=calls)
    with subject.adapter.intervene(push), subject.adapter.record(globs) as other:
        there = subject.act(rows)
    for post in posts:
        later = [p for p in points if p == post or _layer(p) > _layer(post)]
        patch = Inject(at=(str(post),), source=other, calls=calls)
        watched = [str(p) for p in later]
        with subject.adapter.intervene(patch), subject.adapter.record(watched) as seen:
            patched = subject.act(rows)
        for point in later:
            _expect_equal(post, point, seen, other, plain)
        if calls is None and not pathway.read_per_layer:
            _expect_same_action(post, patched, there, here)
    return True


def _expect_equal(
    post: HookPoint,
    point: HookPoint,
    seen: ActivationCache,
    other: ActivationCache,
    plain: ActivationCache,
) -> None:
    firings = zip(seen[point], other[point], plain[point], strict=False)
    for got, wanted, before in firings:
        rows = zip(got.rows, wanted.rows, before.rows, strict=True)
        if all(_close(g, w, b) for g, w, b in rows):
            continue
        what = "is not what was put in" if point == post else "does not follow"
        fail(
            f"patching {post}: {point} {what} on call {got.firing.call}. The residual stream must "
            "be read and written whole, skip connection included: use OutputTap on the block, or "
            "ResidualTap (an edit at the next norm's input misses the skip connection)"
        )


def _expect_same_action(
    post: HookPoint, patched: FloatArray, there: FloatArray, here: FloatArray
) -> None:
    got, wanted, before = (torch.from_numpy(a) for a in (patched, there, here))
    if not _close(got, wanted, before):
        gap = float((got - wanted).abs().max())
        fail(
            f"patching {post} gives other actions (by {gap:.3g}) than the run it came from: what "
            "the tap writes is not what the action is computed from. If other pathways read every "
            "layer of this one (keys and values), declare Pathway(read_per_layer=True)"
        )


def _close(got: Tensor, wanted: Tensor, before: Tensor) -> bool:
    """Equal, measured against how far the two runs lie apart."""
    if got.shape != wanted.shape:
        return False
    effect = float((wanted - before).abs().max()) if wanted.shape == before.shape else 0.0
    tolerance = _RELATIVE * effect + _FLOATING * float(wanted.abs().max())
    return float((got - wanted).abs().max()) <= tolerance


def _layer(point: HookPoint) -> int:
    assert point.layer is not None  # blocks() gives layered points
    return point.layer


CHECKS = (patching_is_exact,)
