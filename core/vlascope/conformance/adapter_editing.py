"""Promises about what edits reach, and that nothing of them stays behind."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vlascope.conformance.adapter_subject import AdapterSubject, apart, count_hooks
from vlascope.conformance.results import fail
from vlascope.hooks import Firing, HookPoint
from vlascope.interventions import Intervention, ZeroAblate
from vlascope.types import FloatArray

__all__ = ["CHECKS"]

_STRENGTHS = (1.0, 10.0, 100.0)


def edits_change_actions(subject: AdapterSubject) -> None:
    """A large random edit at any point that is not declared dead gives other actions."""
    before = subject.act()
    unmoved = [p for p in subject.live_points if not _moves(subject, p, before)]
    if unmoved:
        fail(
            f"edits at {', '.join(map(str, unmoved))} change no action: the tap reads a copy or "
            "writes what is not read again; if the value truly cannot reach the action, list the "
            "points in dead_points()"
        )


def dead_sites_are_dead(subject: AdapterSubject) -> None:
    """Edits at points declared dead change no action at all."""
    dead = subject.adapter.dead_points()
    unknown = sorted(dead - set(subject.adapter.hook_points()))
    if unknown:
        fail(f"dead_points() names {', '.join(map(str, unknown))}, which hook_points() does not")
    before = subject.act()
    moving = [p for p in sorted(dead) if _moves(subject, p, before)]
    if moving:
        fail(f"edits at {', '.join(map(str, moving))} do change actions: they are not dead")


def hooks_are_gone_afterwards(subject: AdapterSubject) -> None:
    """After the block the policy acts as before it, and no hook is left in the network."""
    model, before = subject.adapter.model, subject.act()
    hooks = count_hooks(model)
    with subject.adapter.intervene(ZeroAblate(at=("*",))), subject.adapter.record("*"):
        subject.act()
    _expect_clean(subject, before, hooks, "after the block")


def exceptions_remove_hooks(subject: AdapterSubject) -> None:
    """An exception, in the block or in the edit itself, leaves no hook behind."""
    before, hooks = subject.act(), count_hooks(subject.adapter.model)
    point = str(subject.live_points[0])
    try:
        with subject.adapter.intervene(ZeroAblate(at=("*",))), subject.adapter.record("*"):
            raise _DeliberateError
    except _DeliberateError:
        pass
    _expect_clean(subject, before, hooks, "after an exception in the block")
    try:
        with subject.adapter.intervene(_Raise(at=(point,))):
            subject.act()
    except _DeliberateError:
        pass
    else:
        fail(f"an edit at {point} raised and the policy went on: let exceptions pass")
    _expect_clean(subject, before, hooks, "after an exception in an edit")


class _DeliberateError(Exception):
    pass


class _Push(Intervention):
    """A random direction of some times each token's norm, or of that length where it is zero."""

    kind: ClassVar[str] = "_push"
    strength: float

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Shift every token by a direction of its own."""
        norm = activation.float().norm(dim=-1, keepdim=True)
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(activation.shape, generator=generator).to(norm)
        direction = direction / direction.norm(dim=-1, keepdim=True)
        pushed = self.strength * torch.where(norm == 0, 1.0, norm) * direction
        return activation + pushed.to(activation.dtype)


class _Raise(Intervention):
    """An edit that fails."""

    kind: ClassVar[str] = "_raise"

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        raise _DeliberateError


def _moves(subject: AdapterSubject, point: HookPoint, before: FloatArray) -> bool:
    """Exact inequality, at growing strengths: discrete actions need a large push."""
    for strength in _STRENGTHS:
        with subject.adapter.intervene(_Push(at=(str(point),), strength=strength)):
            if apart(subject.act(), before) != 0:
                return True
    return False


def _expect_clean(subject: AdapterSubject, before: FloatArray, hooks: int, when: str) -> None:
    left = count_hooks(subject.adapter.model) - hooks
    if left:
        fail(f"{left} hooks are left {when}: a tap's attach() must return every handle it makes")
    if apart(subject.act(), before) != 0:
        fail(f"{when} the actions differ: an edit or a tap changed the network or its caches")


CHECKS = (
    edits_change_actions,
    dead_sites_are_dead,
    hooks_are_gone_afterwards,
    exceptions_remove_hooks,
)
