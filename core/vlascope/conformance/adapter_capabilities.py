"""Promises about optional abilities: what is declared works, what is not says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vlascope.adapter import CAPABILITIES
from vlascope.conformance.adapter_subject import AdapterSubject
from vlascope.conformance.results import fail
from vlascope.errors import CapabilityMissing, VlascopeError
from vlascope.noise import generator_for

__all__ = ["CHECKS"]


def declared_capabilities_work(subject: AdapterSubject) -> None:
    """Every declared capability exists and gives what it says."""
    declared = subject.cls.capabilities
    unknown = sorted(declared - set(CAPABILITIES))
    if unknown:
        fail(f"capabilities {unknown} do not exist; there are {sorted(CAPABILITIES)}")
    for name in sorted(declared):
        try:
            _TRIALS[name](subject)
        except CapabilityMissing as error:
            fail(f"{name!r} is declared but missing ({error}): override it, or do not declare it")


def undeclared_capabilities_say_so(subject: AdapterSubject) -> None:
    """What is not declared raises `CapabilityMissing` (attention: names no points)."""
    for name in sorted(set(CAPABILITIES) - subject.cls.capabilities):
        try:
            given = _CALLS[name](subject)
        except CapabilityMissing:
            continue
        except VlascopeError as error:
            fail(
                f"{name!r} is not declared and raises {type(error).__name__}; raise "
                "CapabilityMissing"
            )
        if given:
            fail(f"{name!r} works but is not declared: add it to `capabilities`")


def _unembedding(subject: AdapterSubject) -> None:
    matrix, tokens = subject.adapter.unembedding()
    widths = {p.width for p in subject.adapter.info.pathways}
    if matrix.ndim != 2 or len(matrix) != len(tokens) or matrix.shape[1] not in widths:
        fail(
            f"unembedding() is {tuple(matrix.shape)} for {len(tokens)} tokens: give (vocabulary, "
            f"width) with the width of a pathway, one of {sorted(widths)}"
        )


def _value_vectors(subject: AdapterSubject) -> None:
    vectors = subject.adapter.value_vectors(0)
    shapes = {(p.ffn_width, p.width) for p in subject.adapter.info.pathways}
    if tuple(vectors.shape) not in shapes:
        fail(
            f"value_vectors(0) is {tuple(vectors.shape)}: give (ffn_width, width) of the language "
            f"pathway, one of {sorted(shapes)} (a Linear's weight is the transpose)"
        )


def _attention(subject: AdapterSubject) -> None:
    points = subject.adapter.attention_points()
    if not points:
        fail("'attention' is declared and attention_points() is empty: name some, or do not")
    with subject.adapter.record([str(p) for p in points]) as seen:
        subject.act(subject.examples(0, 1))
    for point, row in ((p, row) for p in seen for c in seen[p] for row in c.rows):
        if row.ndim != 3 or not torch.allclose(row.sum(-1), torch.ones(()), atol=1e-3):
            fail(
                f"{point} shows {tuple(row.shape)} per row whose last dimension does not sum to "
                "1: tap the probabilities after softmax, (batch, heads, queries, keys)"
            )


def _gradients(subject: AdapterSubject) -> None:
    adapter = subject.adapter
    point = [p for p in subject.live_points if p.site == "resid_post"][-1]
    leaves: list[Tensor] = []

    def leaf(value: Tensor) -> Tensor:
        leaves.append(value.detach().clone().requires_grad_())
        return leaves[-1]

    handles = adapter.tap(point).attach(adapter.model, leaf)
    try:
        with torch.enable_grad():
            noise = [generator_for(0)]
            actions = adapter.differentiable_actions(subject.examples(0), generators=noise)
            torch.autograd.backward(actions.pow(2).sum())
    finally:
        for handle in handles:
            handle.remove()
    if not any(leaf.grad is not None and leaf.grad.abs().max() > 0 for leaf in leaves):
        fail(
            f"differentiable_actions() carries no gradient to {point}: run without no_grad or "
            "detach between the activations and the actions"
        )


def _try_gradients(subject: AdapterSubject) -> bool:
    noise = [generator_for(0)]
    subject.adapter.differentiable_actions(subject.examples(0), generators=noise)
    return True


_TRIALS: Mapping[str, Callable[[AdapterSubject], None]] = {
    "unembedding": _unembedding,
    "value_vectors": _value_vectors,
    "attention": _attention,
    "gradients": _gradients,
}
_CALLS: Mapping[str, Callable[[AdapterSubject], object]] = {
    "unembedding": lambda subject: bool(subject.adapter.unembedding()),
    "value_vectors": lambda subject: bool(subject.adapter.value_vectors(0).numel()),
    "attention": lambda subject: bool(subject.adapter.attention_points()),
    "gradients": _try_gradients,
}

CHECKS = (declared_capabilities_work, undeclared_capabilities_say_so)
