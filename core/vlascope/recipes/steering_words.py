"""What the chapter on steering says in sentences."""

from __future__ import annotations

from functools import partial

from vlascope.recipes.steering_view import (
    View,
    dx_ratio,
    mean_of,
    nearest,
    off_target,
    paired,
    success,
    unit_of,
)
from vlascope.statistics import Estimate, rate

__all__ = ["sentences", "unresolved"]


def sentences(view: View) -> list[str]:
    """What was found: the closed loop first, then every fixed strength."""
    lines = []
    for steered in view.steered:
        if steered.strength is not None or not view.episodes(steered.arm):
            continue
        hold = view.recipe.hold
        assert hold is not None
        kept = rate([e.record.success for e in view.episodes(steered.arm)])
        measured = mean_of(view.values(steered.arm, view.hand(view.quantity)))
        plain = mean_of(view.values(view.baseline, view.hand(view.quantity)))
        acted = _number(dx_ratio(view.episodes(steered.arm)))
        lines.append(
            f"Closed loop at {steered.at}, {hold.quantity} to be held at {hold.target:g} "
            f"{unit_of(view)}: mean {_say(measured, unit_of(view))} "
            f"(unsteered {_number(plain.value)}), ||dx||/||x|| {acted}, success {_share(kept)}."
        )
        if hold.quantity == view.quantity:
            nearer = paired(
                view,
                steered.arm,
                view.baseline,
                partial(off_target, view, hold.target),
                binary=False,
            )
            lines.append(
                f"Mean distance from the set point, loop minus unsteered: "
                f"{_say(nearer.difference, unit_of(view))}."
            )
        twin = nearest(view, steered, measured.value)
        if twin is not None:
            lost = rate([e.record.success for e in view.episodes(twin.arm)])
            pair = paired(view, steered.arm, twin.arm, success, binary=True)
            reached = mean_of(view.values(twin.arm, view.hand(view.quantity)))
            lines.append(
                f"Of the fixed strengths there, {twin.strength:+g} comes nearest "
                f"({_say(reached, unit_of(view))}; ||dx||/||x|| "
                f"{_number(dx_ratio(view.episodes(twin.arm)))}), with success {_share(lost)}; "
                f"loop minus fixed: {_say(pair.difference, 'share')}."
            )
    for steered in view.steered:
        random = f"{steered.arm}.random_direction"
        if steered.strength is None or not view.episodes(steered.arm) or not view.episodes(random):
            continue
        of = view.hand(view.quantity)
        found = paired(view, steered.arm, random, of, binary=False).difference
        verdict = "differs from" if found.resolved else "is not told apart from"
        lines.append(
            f"Strength {steered.strength:+g} at {steered.at}: {view.quantity} {verdict} that under "
            f"a random direction of equal norm ({_say(found, unit_of(view))})."
        )
    return lines


def unresolved(view: View) -> tuple[str, ...]:
    """What these numbers cannot tell."""
    lines = [
        f"{view.recipe.randoms} random direction(s) per strength: no effect can be told from "
        f"theirs at p < {1 / (1 + view.recipe.randoms):.2g}, however many episodes there are.",
        "A loop whose quantity is near its set point anyway hardly acts, which keeps success too: "
        "its ||dx||/||x|| and the distance from the set point say how much it did.",
        "Episodes end at success, so that means over an episode also change with its length.",
    ]
    if view.recipe.prompting is None:
        lines.append("Nobody asked for the same in words: steering is not set against prompting.")
    return tuple(lines)


def _say(estimate: Estimate, unit: str) -> str:
    if estimate.value is None:
        return "not measured"
    if unit == "share":
        return _share(estimate, signed=True)
    interval = (
        f", 95% interval {estimate.low:.3g} to {estimate.high:.3g}"
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    return f"{estimate.value:.3g} {unit}{interval}, n = {estimate.n}"


def _share(estimate: Estimate, *, signed: bool = False) -> str:
    if estimate.value is None:
        return "not measured"
    sign = "+" if signed else ""
    interval = (
        f", 95% interval {100 * estimate.low:{sign}.0f} to {100 * estimate.high:{sign}.0f}"
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    unit = " points" if signed else "%"
    return f"{100 * estimate.value:{sign}.0f}{unit}{interval}, n = {estimate.n}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2g}"
