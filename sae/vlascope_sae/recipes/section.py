"""The report's chapter on autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vlascope.counterfactuals.sensitivity import told_apart
from vlascope.report.wording import amount, interval, p_value
from vlascope.sections import Block, Prose, Section
from vlascope.statistics import Comparison, Estimate
from vlascope_sae.recipes.hooked import (
    Hooked,
    arm_of,
    between_kinds,
    hooked_arms,
    outcome_of,
    unhooked,
)
from vlascope_sae.recipes.tables import hooked_figure, hooked_table, learned_from, offline_blocks

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading
    from vlascope_sae.recipes.results import Found
    from vlascope_sae.recipes.saes import SAEs

__all__ = ["saes_section"]

HOW: Final = (
    "Autoencoders of {expansion:g} latents per dimension, {sparsity}, trained for {steps} steps of "
    "{batch} rows on the baseline's activations; {held:.0%} of the episodes were held out. Those "
    "that learned from pooled rows (the mean over the tokens of a firing) are spliced in as the "
    "others are: every token is replaced by its reconstruction, at every step."
)
READ: Final = (
    "`{pathway}` is read at every layer: the splice at `{point}` leaves what earlier layers hand "
    "over as it is, so that little change there says less than elsewhere."
)
UNITS: Final = (
    "General shares are by fits to latents of rows normalised one by one (`layer_norm`); these "
    "autoencoders normalise by `{kind}`, which changes the units of magnitudes and onsets."
)
RATE: Final = (
    "How often a feature fires separates `general` from `memorised` at {places} almost by itself: "
    "a claim about general features needs controls that fire as often."
)
_SEPARATES: Final = 0.95


def saes_section(recipe: SAEs, reading: Reading) -> Section:
    """Build the chapter from what was trained and played."""
    outcome = outcome_of(reading)
    if outcome is None:
        return Section(
            name=reading.name,
            title=recipe.title,
            policy=reading.policy,
            unresolved=("No autoencoder was trained; see the ledger for the reason.",),
        )
    hooked = hooked_arms(recipe, reading)
    blocks: list[Block] = [Prose(text=_how(recipe))] if outcome.found else []
    if hooked:
        blocks += [hooked_figure(hooked, unhooked(reading)), hooked_table(hooked)]
    pairs = {p: between_kinds(reading, hooked, p) for p in recipe.at.pathways}
    kinds = {p: c for p, c in pairs.items() if c is not None}
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=(
            *(s for h in hooked for s in _success(h, recipe.alpha)),
            *(
                _kinds(p, c)
                for p, c in kinds.items()
                if told_apart(c.difference, c.p, recipe.alpha)
            ),
            *(s for f in outcome.found for s in _offline(f)),
        ),
        blocks=(*blocks, *offline_blocks(outcome)),
        unresolved=(
            *(f"{a.pathway}: {a.why}." for a in outcome.absent),
            *(_open(h) for h in hooked if not h.changed(recipe.alpha)),
            *(
                f"{p}, by tokens against pooled: {_limit(c)}."
                for p, c in kinds.items()
                if not told_apart(c.difference, c.p, recipe.alpha)
            ),
            *_missing(reading, outcome.found, hooked),
            *_caveats(recipe, outcome.found),
        ),
    )


def _how(recipe: SAEs) -> str:
    sparsity = (
        f"{recipe.k} of which fire per row"
        if recipe.k is not None
        else f"as many firing per row as {recipe.l0 or 1 / 8:.1%} of the dimensions"
    )
    return HOW.format(
        expansion=recipe.expansion,
        sparsity=sparsity,
        steps=recipe.steps,
        batch=recipe.batch_size,
        held=recipe.validation,
    )


def _success(hooked: Hooked, alpha: float) -> list[str]:
    """What a splice did to success, and whether that is the error's direction or its size."""
    if not hooked.changed(alpha):
        return []
    text = (
        f"With `{hooked.point}` replaced by its reconstruction ({learned_from(hooked.per)}), "
        f"success is {interval(hooked.success, 'share')}, against unhooked "
        f"{_signed(hooked.unhooked.difference)}, {p_value(hooked.p)}"
    )
    if hooked.random is None or not hooked.random.difference.n:
        return [f"{text}."]
    difference = _signed(hooked.random.difference)
    if told_apart(hooked.random.difference, hooked.random.p, alpha):
        return [f"{text}; against an error of equal norm in a random direction {difference}."]
    return [
        f"{text}; not told apart from an error of equal norm in a random direction "
        f"({difference}): its size alone may explain that."
    ]


def _kinds(pathway: str, found: Comparison) -> str:
    return (
        f"{pathway}: success with the autoencoder of tokens minus that of pooled rows is "
        f"{_signed(found.difference)}, {p_value(found.p)}."
    )


def _offline(found: Found) -> list[str]:
    kind = learned_from(found.per)
    said = [
        f"`{found.point}`, {kind}: {_brief(found.l0)} of {found.d_sae} latents fire and leave "
        f"{_brief(found.spliced_fvu)} of the tokens' variance unexplained "
        f"(n = {found.fvu.n} held-out episodes); {_brief(found.general.share)} of the "
        f"{found.general.alive} features that fired are `general` by the {found.general.fit} fit."
    ]
    action = found.action
    if action is not None and action.splice.value is not None:
        beside = "not told apart from"
        if action.against_random.resolved:
            beside = "less than" if (action.against_random.value or 0) < 0 else "more than"
        said.append(
            f"`{found.point}`, {kind}: plans move by {_brief(action.splice)} of half an action's "
            f"range (n = {action.splice.n} held-out episodes), {beside} {_brief(action.random)} by "
            f"an error of equal norm in a random direction; the mean activation moves them by "
            f"{_brief(action.mean)}."
        )
    return said


def _open(hooked: Hooked) -> str:
    where = f"`{hooked.point or hooked.pathway}` ({learned_from(hooked.per)})"
    return f"Success with {where} replaced, against unhooked: {_limit(hooked.unhooked)}."


def _limit(found: Comparison) -> str:
    if not found.difference.n:
        return "not measured"
    limit = (
        "too few pairs to show any difference"
        if found.detectable is None
        else f"cannot resolve differences below {amount(found.detectable, 'share')}"
    )
    return f"{interval(found.difference, 'share', signed=True)}; {limit}"


def _missing(reading: Reading, found: Sequence[Found], hooked: Sequence[Hooked]) -> list[str]:
    played = {h.arm for h in hooked}
    arms = [arm_of(reading.name, f.pathway, f.per) for f in found]
    lost = [
        f"`{a}` was not played; see the ledger for the reason." for a in arms if a not in played
    ]
    reasons = dict.fromkeys(f.action_missing for f in found if f.action_missing)
    return [*lost, *(f"How far plans move was not measured: {why}." for why in reasons)]


def _caveats(recipe: SAEs, found: Sequence[Found]) -> list[str]:
    told = [
        f"`{f.point}` ({learned_from(f.per)}, AUC {f.general.rate_auc:.2f})"
        for f in found
        if f.general.rate_auc is not None and f.general.rate_auc >= _SEPARATES
    ]
    read = dict.fromkeys((f.pathway, f.point) for f in found if f.read_per_layer)
    strange = bool(found) and recipe.normalise != "layer_norm"
    return [
        *([UNITS.format(kind=recipe.normalise)] if strange else []),
        *([RATE.format(places=", ".join(told))] if told else []),
        *(READ.format(pathway=pathway, point=point) for pathway, point in read),
    ]


def _signed(found: Estimate) -> str:
    return interval(found, "share", signed=True)


def _brief(found: Estimate) -> str:
    """Two digits that say something, however small: `0.012 [0.0098, 0.015]`."""
    if found.value is None:
        return "not measured"
    text = f"{found.value:.2g}"
    if found.low is not None and found.high is not None:
        text += f" [{found.low:.2g}, {found.high:.2g}]"
    return text.replace("-", "\u2212")
