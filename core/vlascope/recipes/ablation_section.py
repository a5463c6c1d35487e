"""The report's chapter on ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlascope.recipes.ablation_tables import curve_figures, grid_figure, grid_table, rate_table
from vlascope.recipes.ablation_verdicts import DESTRUCTION, Verdict, verdicts
from vlascope.report.wording import amount, interval, p_value
from vlascope.sections import Block, Prose, Section
from vlascope.statistics import Comparison, Estimate
from vlascope.study.findings import estimate, paired
from vlascope.study.measuring import Measuring
from vlascope.study.recipe import Reading

if TYPE_CHECKING:
    from vlascope.recipes.ablation import Ablated, Ablation, Cut

__all__ = ["RESIDUAL", "Broken", "CutPoint", "ablation_section", "broken"]

RESIDUAL = ("resid_pre", "resid_mid", "resid_post")
"""Sites that carry everything computed before them."""

HOW = (
    "Success is paired with the baseline's by task and seed. `zero` effect: the difference is "
    "below the smallest one that so many pairs would show with 80% power, which is at most 50 "
    "percentage points, and not told apart; "
    "`destroyed`: told apart and below \u221250 percentage points; told apart means an adjusted "
    "(Holm, over the table) p of at most {alpha:g} and an interval without zero. Anything else "
    "stays `unresolved`. Dead sites cannot reach the action: they are shown and never ranked."
)
UPSTREAM = (
    "{sites}: these replace the residual stream, which removes everything computed up to there; "
    "that success is destroyed does not make the layer critical."
)


@dataclass(frozen=True)
class Broken:
    """A grid arm and what it did.

    Attributes:
        random: against the control of equal norm and random direction; None without one.
        ratio: ||dx|| / ||x||, mean over episodes.
        dead: the adapter declares the site dead.
    """

    place: Ablated
    value: Estimate
    against: Comparison
    random: Comparison | None
    ratio: float | None
    dead: bool
    verdict: Verdict


@dataclass(frozen=True)
class CutPoint:
    """A point of a fraction-to-failure curve, beside its matched control where there is one."""

    cut: Cut
    value: Estimate
    matched: Estimate | None


def broken(recipe: Ablation, reading: Reading) -> list[Broken]:
    """What every arm of the grid that was played did, and its verdict."""
    means = reading.analyses.get(f"{reading.name}_means")
    dead = frozenset(means.data["dead"]) if means is not None else frozenset()
    grid = [g for g in recipe.grid(reading.name) if _played(reading, g.arm)]
    return _broken(recipe, reading, grid, dead)


def ablation_section(recipe: Ablation, reading: Reading) -> Section:
    """Build the chapter from what was played."""
    name = reading.name
    grid = list(recipe.grid(name))
    shown = broken(recipe, reading)
    curves = _curves(reading, [c for c in recipe.cuts(name) if _played(reading, c.arm)])
    blocks: list[Block] = [Prose(text=HOW.format(alpha=recipe.alpha))]
    if shown:
        blocks += [rate_table(shown), *grid_figure(shown), grid_table(shown)]
    blocks += curve_figures(curves)
    found = [b for b in shown if b.verdict in ("changed", "destroyed")]
    unresolved = [f"`{g.arm}` was not played." for g in grid if not _played(reading, g.arm)]
    unresolved += [_open(b) for b in shown if b.verdict in ("zero", "unresolved")]
    unresolved += _floor(reading)
    if f"{name}_means" not in reading.analyses:
        unresolved.append("Which sites are dead is not known: the analysis of means did not run.")
    return Section(
        name=name,
        title=recipe.title,
        policy=reading.policy,
        sentences=(*(_said(b) for b in found), *_upstream(found), *_curve_sentences(curves)),
        blocks=tuple(blocks),
        unresolved=tuple(unresolved),
    )


def _broken(
    recipe: Ablation, reading: Reading, grid: Sequence[Ablated], dead: frozenset[str]
) -> list[Broken]:
    compared = [_against(reading, g.arm, _baseline(reading.measuring)) for g in grid]
    judged = verdicts(compared, recipe.alpha)
    return [
        Broken(
            place=g,
            value=estimate("success", reading.measuring.values(reading.policy, g.arm, "success")),
            against=comparison,
            random=_random(reading, g.arm),
            ratio=_ratio(reading, g.arm),
            dead=g.at in dead,
            verdict=verdict,
        )
        for g, comparison, verdict in zip(grid, compared, judged, strict=True)
    ]


def _against(reading: Reading, arm: str, control: str) -> Comparison:
    measuring, policy = reading.measuring, reading.policy
    values = measuring.values(policy, arm, "success")
    return paired("success", values, measuring.values(policy, control, "success"))


def _random(reading: Reading, arm: str) -> Comparison | None:
    control = reading.measuring.design.controls(arm).get("random_direction")
    return None if control is None else _against(reading, arm, control)


def _ratio(reading: Reading, arm: str) -> float | None:
    records = [e.record for e in reading.measuring.episodes.of(reading.policy, arm) if e.ok]
    ratios = [r.dx_ratio_mean for record in records for r in record.receipts]
    known = [r for r in ratios if r is not None]
    return sum(known) / len(known) if known else None


def _curves(reading: Reading, cuts: Sequence[Cut]) -> list[CutPoint]:
    measuring, policy = reading.measuring, reading.policy

    def value(arm: str) -> Estimate:
        return estimate("success", measuring.values(policy, arm, "success"))

    return [
        CutPoint(c, value(c.arm), value(c.matched) if c.matched is not None else None) for c in cuts
    ]


def _floor(reading: Reading) -> list[str]:
    """Where the baseline itself fails, nothing can be lost."""
    measuring = reading.measuring
    values = measuring.values(reading.policy, _baseline(measuring), "success")
    own = estimate("success", values)
    if own.value is None or own.value >= -DESTRUCTION:
        return []
    return [f"The baseline succeeds in {interval(own, 'share')}: destruction cannot show here."]


def _played(reading: Reading, arm: str) -> bool:
    return any(e.ok for e in reading.measuring.episodes.of(reading.policy, arm))


def _baseline(measuring: Measuring) -> str:
    return measuring.design.study.baseline_arm


def _said(broken: Broken) -> str:
    word = "destroys" if broken.verdict == "destroyed" else "changes"
    text = (
        f"`{broken.place.arm}` ({broken.place.method} at `{broken.place.at}`"
        f"{', ' + broken.place.window if broken.place.window else ''}) {word} success: "
        f"{interval(broken.against.difference, 'share', signed=True)}, {p_value(broken.against.p)}"
    )
    if broken.random is not None and broken.random.difference.n:
        difference = interval(broken.random.difference, "share", signed=True)
        same = "" if broken.random.difference.resolved else "not told apart: "
        text += f"; against a random direction of equal norm {same}{difference}"
    return f"{text}."


def _upstream(found: Sequence[Broken]) -> tuple[str, ...]:
    sites = dict.fromkeys(f"`{b.place.at}`" for b in found if b.place.site in RESIDUAL)
    return (UPSTREAM.format(sites=", ".join(sites)),) if sites else ()


def _open(broken: Broken) -> str:
    found = broken.against
    limit = (
        "too few pairs to show any difference"
        if found.detectable is None
        else f"cannot resolve differences below {amount(found.detectable, 'share')}"
    )
    why = "dead by declaration; " if broken.dead else ""
    difference = interval(found.difference, "share", signed=True)
    return f"`{broken.place.arm}`: {why}{broken.verdict}, {difference}; {limit}."


def _curve_sentences(points: Sequence[CutPoint]) -> tuple[str, ...]:
    """Per set, the first size at which the top fails and the random sets do not."""
    by_set: dict[str, list[CutPoint]] = {}
    for point in points:
        by_set.setdefault(point.cut.of, []).append(point)
    return tuple(_first_failure(of, mine) for of, mine in by_set.items())


def _first_failure(of: str, points: Sequence[CutPoint]) -> str:
    top = {p.cut.size: p.value for p in points if p.cut.which == "top"}
    others = _pooled(points)
    for size, value in sorted(top.items()):
        random = others.get(size)
        below = random is not None and None not in (value.high, random.low)
        if below and random is not None and (value.high or 0.0) < (random.low or 0.0):
            return (
                f"Of the set `{of}`, removing the first {size} is the fewest that leaves success "
                f"({interval(value, 'share')}) below as many random ones "
                f"({interval(random, 'share')}), by intervals that do not meet."
            )
    sizes = ", ".join(str(s) for s in sorted(top))
    return f"Of the set `{of}`, no size ({sizes}) falls below random sets of equal size."


def _pooled(points: Sequence[CutPoint]) -> Mapping[int, Estimate]:
    """Random sets of one size: the draw that leaves the least success, to be on the safe side."""
    found: dict[int, Estimate] = {}
    for p in points:
        if p.cut.which == "random" and p.value.value is not None:
            held = found.get(p.cut.size)
            if held is None or (held.value or 0.0) > p.value.value:
                found[p.cut.size] = p.value
    return found
