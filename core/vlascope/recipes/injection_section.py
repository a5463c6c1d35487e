"""The injection recipe's chapter: conditions by place, controls, and what others reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlascope.recipes.injection_angles import angle_table
from vlascope.recipes.injection_published import published
from vlascope.recipes.injection_tables import (
    main_table,
    plain_arms,
    ratio_table,
    share_table,
    verdict_table,
)
from vlascope.recipes.injection_verdicts import Verdict, adjusted, arms_of, verdict_of
from vlascope.report.wording import amount, interval, p_value, spoken
from vlascope.sections import Block, Prose, Section
from vlascope.study.findings import estimate, paired
from vlascope.study.metrics import METRICS

if TYPE_CHECKING:
    from vlascope.recipes.injection import Injection
    from vlascope.study.recipe import Reading

__all__ = ["injection_section"]


def injection_section(recipe: Injection, reading: Reading) -> Section:
    """Verdicts in sentences, then everything they rest on."""
    arms = arms_of(reading.measuring, reading.name)
    verdicts = adjusted(
        [verdict_of(reading.measuring, reading.policy, arm) for arm in arms], recipe.alpha
    )
    plays = [v for v in verdicts if v.value.n]
    spaces = {
        n: r for n, r in reading.analyses.items() if n.startswith(f"{reading.name}_subspaces")
    }
    analyses = list(spaces.values())
    angles, without = angle_table(spaces)
    blocks: list[Block] = [main_table(recipe, reading, arms), verdict_table(plays)]
    shares = share_table(reading, arms)
    blocks += [shares] if shares.rows else []
    blocks += [block for result in analyses for block in result.blocks]
    blocks += [angles] if angles is not None else []
    blocks += [ratio_table(reading, arms), published(), Prose(text=_READING)]
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=(
            *(_sentence(v) for v in plays),
            *_between(recipe, reading),
            *_switches(reading),
            *(s for result in analyses for s in result.sentences),
        ),
        blocks=tuple(blocks),
        unresolved=(*_unresolved(verdicts, plays), *without),
    )


_READING = (
    "Replacing `resid_post` in every layer removes all that the target itself computed there: "
    "it shows what a pathway can carry, not that the policy needs it. An override counts only "
    "beside the same measure under the source's prompt alone and without injection, as two tasks' "
    "paths are often alike whatever is put in."
)


def _sentence(v: Verdict) -> str:
    unit, label = METRICS[v.metric].unit, METRICS[v.metric].label
    into = f"{v.condition.replace('_', ' ')} into {v.where}"
    into = into[:1].upper() + into[1:]
    told = f"{into}: {label} {interval(v.value, unit)}"
    if v.condition == "self":
        return f"{told}: a run's own activations put back should change nothing."
    told += "".join(
        f"; against {spoken(role)} {interval(c.difference, unit, signed=True)}"
        for role, c in v.controls.items()
        if c.difference.n and role != "identity"
    )
    p = "no p" if v.adjusted is None else f"{p_value(v.adjusted)} after Holm"
    return f"{told}. {_WORDS[v.word]} ({p})."


_WORDS = {
    "acts": "It acts: more than without injection and than a random direction",
    "reversed": "It works the other way: less than without injection and than a random direction",
    "not told apart": "Not told apart from its controls",
}


def _between(recipe: Injection, reading: Reading) -> list[str]:
    """Displacement by pathway, the claim that experts move the robot twice as much."""
    found = []
    condition = recipe.detail
    values = {
        p: reading.measuring.values(reading.policy, arm, "displacement")
        for p in recipe.pathways
        if (arm := f"{reading.name}_{condition}_{p}") in _names(reading)
    }
    means = {p: estimate("displacement", v) for p, v in values.items()}
    first, *others = list(values) or [""]
    for other in others:
        a, b = means[first].value, means[other].value
        if a is None or b is None:
            continue
        comparison = paired("displacement", values[first], values[other])
        ratio = f" ({a / b:.1f} times)" if b > 1e-3 else ""
        text = (
            f"Injection displaces the hand by {amount(a, 'm')} into {first} and by "
            f"{amount(b, 'm')} into {other}{ratio}: difference "
            f"{interval(comparison.difference, 'm', signed=True)}"
        )
        if not comparison.difference.resolved:
            text += ", not told apart from zero"
        found.append(f"{text} (published: into the expert about twice that into the VLM).")
    return found


def _names(reading: Reading) -> set[str]:
    return {g.arm for g in reading.measuring.design.groups}


def _switches(reading: Reading) -> list[str]:
    """What became of prompts that switch."""
    found = []
    for name in plain_arms(reading):
        prompt = reading.measuring.design.group(name).plans[0].switch
        if prompt is None:
            continue
        episodes = [e.record for e in reading.measuring.episodes.of(reading.policy, name) if e.ok]
        reached = sum(r.prompt is not None and r.prompt.switched_at is not None for r in episodes)
        goal = estimate(
            "source_goal", reading.measuring.values(reading.policy, name, "source_goal")
        )
        told = f"; the other task's goal reached {interval(goal, 'share')}" if goal.n else ""
        found.append(
            f"Told another task from step {prompt.step} on ({reached} of {len(episodes)} episodes "
            f"lasted until then){told}."
        )
    return found


def _unresolved(verdicts: Sequence[Verdict], plays: Sequence[Verdict]) -> list[str]:
    found = [f"`{v.arm}` was not played or has no value." for v in verdicts if not v.value.n]
    for v in plays:
        if v.word != "not told apart" or v.condition == "self":
            continue
        limits = [
            f"{spoken(role)} below {amount(c.detectable, METRICS[v.metric].unit)}"
            if c.detectable is not None
            else f"{spoken(role)} at any size"
            for role, c in v.controls.items()
            if role in ("no_injection", "random_direction") and c.difference.n
        ]
        found.append(
            f"`{v.arm}`, {METRICS[v.metric].label}: n = {v.value.n} cannot show a difference from "
            f"{' or from '.join(limits)} (80% power, unadjusted)."
        )
    return found
