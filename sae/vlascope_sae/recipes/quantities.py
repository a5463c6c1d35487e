"""The chapter's numbers, keyed so that policies of other shape can be set beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vlascope.statistics import Estimate
from vlascope.study.quantity import Bounds, Quantity
from vlascope_sae.recipes.hooked import Hooked, between_kinds, hooked_arms, outcome_of
from vlascope_sae.recipes.tables import learned_from

if TYPE_CHECKING:
    from vlascope.study.recipe import Reading
    from vlascope_sae.recipes.results import Found, Judged, Outcome
    from vlascope_sae.recipes.saes import SAEs

__all__ = ["saes_quantities"]

_UNHOOKED = "the policy without the splice"
_RANDOM = "an error of equal norm in a random direction"
_MEAN = "the mean activation"
_POSITIVE: Bounds = (0.0, None)


def saes_quantities(recipe: SAEs, reading: Reading) -> tuple[Quantity, ...]:
    """By pathway and kind; a pathway without autoencoders says why."""
    outcome = outcome_of(reading)
    if outcome is None:
        return ()
    where: dict[str, Any] = {"depth": recipe.at.third, "site": recipe.at.site}
    found: list[Quantity] = []
    for absent in outcome.absent:
        found += [
            Quantity(key=f"saes.{what}.{per}", label=f"{label} ({learned_from(per)})", value=None,
                     unit=unit, pathway=absent.pathway, why_not=absent.why, **where)
            for per in recipe.per
            for what, label, unit in _WHAT
        ]  # fmt: skip
    for one in outcome.found:
        found += _judged(one, one.per, learned_from(one.per), where)
        found += _classes(one, where)
    for other in outcome.others:
        assert other.asked_l0 is not None
        one_in = round(1 / other.asked_l0)
        words = f"{learned_from(other.per)}, 1 in {one_in} dimensions"
        found += _judged(other, f"{other.per}_1_in_{one_in}", words, where)
    hooked = hooked_arms(recipe, reading)
    for splice in hooked:
        found += _hooked(splice, where | _layer(outcome, splice.pathway))
    for pathway in dict.fromkeys(h.pathway for h in hooked):
        found += _between(reading, hooked, pathway, where | _layer(outcome, pathway))
    return tuple(found)


_WHAT = (
    ("fvu", "Variance unexplained", "1"),
    ("l0", "Latents that fire", "1"),
    ("action_error", "Change of the plan", "1"),
    ("hooked_success", "Success with the reconstruction", "share"),
    ("general_share", "General features", "share"),
)


def _judged(found: Judged, variant: str, words: str, where: dict[str, Any]) -> Iterator[Quantity]:
    """What an autoencoder keeps, offline; `variant` ends its keys and `words` are in its labels."""

    def of(
        key: str,
        label: str,
        value: Estimate,
        bounds: Bounds = (None, None),
        unit: str = "1",
        **more: Any,
    ) -> Quantity:
        return Quantity(
            key=f"saes.{key}.{variant}",
            label=f"{label} ({words})",
            value=value,
            unit=unit,
            bounds=bounds,
            pathway=found.pathway,
            at=found.at,
            **where,
            **more,
        )

    yield of("fvu", "Variance unexplained", found.fvu, _POSITIVE)
    yield of("spliced_fvu", "Variance of tokens unexplained", found.spliced_fvu, _POSITIVE)
    yield of("l0", "Latents that fire", found.l0, _POSITIVE)
    share = {"low": None, "high": None} if found.l0.value is None else _scaled(found.l0, found.d_in)
    yield of("l0_relative", "Latents that fire, of the width", found.l0.model_copy(update=share),
             _POSITIVE)  # fmt: skip
    yield of("silent_share", "Latents silent on held-out episodes", found.silent, (0.0, 1.0),
             unit="share")  # fmt: skip
    if found.action is None:
        return
    a = found.action
    ratio: dict[str, Any] = {"norm_ratio": a.dx_ratio}
    yield of("action_error", "Change of the plan", a.splice, _POSITIVE, **ratio)
    yield of(
        "action_error_random", "Change of the plan, random error", a.random, _POSITIVE, **ratio
    )
    yield of("action_error_mean", "Change of the plan, mean activation", a.mean, _POSITIVE)
    yield of("action_error_against_random", "Change of the plan beyond a random error's",
             a.against_random, signed=True, against=_RANDOM, **ratio)  # fmt: skip
    yield of("action_fidelity", "Action fidelity", a.fidelity, (None, 1.0), against=_MEAN,
             **ratio)  # fmt: skip


def _classes(found: Found, where: dict[str, Any]) -> Iterator[Quantity]:
    """Kinds of features."""
    kind = learned_from(found.per)
    place: dict[str, Any] = {"pathway": found.pathway, "at": found.at, **where}
    yield Quantity(key=f"saes.general_share.{found.per}", label=f"General features ({kind})",
                   value=found.general.share, unit="share", **place)  # fmt: skip
    if found.general.rate_auc is not None:
        auc = Estimate(value=found.general.rate_auc, low=None, high=None, n=found.general.alive,
                       method="over features: no interval")  # fmt: skip
        yield Quantity(key=f"saes.general_rate_auc.{found.per}", value=auc, unit="1",
                       bounds=(0.0, 1.0),
                       label=f"Firing rate tells general from memorised, AUC ({kind})",
                       **place)  # fmt: skip


def _scaled(found: Estimate, by: int) -> dict[str, float | None]:
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {name: None if value is None else value / by for name, value in ends.items()}


def _hooked(hooked: Hooked, where: dict[str, Any]) -> Iterator[Quantity]:
    kind = learned_from(hooked.per)
    place = {"pathway": hooked.pathway, "norm_ratio": hooked.ratio, **where}
    yield Quantity(key=f"saes.hooked_rate.{hooked.per}", label=f"Success, spliced ({kind})",
                   value=hooked.success, **place)  # fmt: skip
    lost = Quantity.of(
        f"saes.hooked_success.{hooked.per}",
        f"Success with the reconstruction ({kind})",
        hooked.unhooked,
        against=_UNHOOKED,
    )
    yield lost.model_copy(update={"p": hooked.p, **place})
    if hooked.random is not None:
        beside = Quantity.of(
            f"saes.hooked_success_against_random.{hooked.per}",
            f"Success beyond a random error's ({kind})",
            hooked.random,
            against=_RANDOM,
        )
        yield beside.model_copy(update=place)


def _between(
    reading: Reading, hooked: list[Hooked], pathway: str, where: dict[str, Any]
) -> Iterator[Quantity]:
    compared = between_kinds(reading, hooked, pathway)
    if compared is not None:
        one = Quantity.of(
            "saes.hooked_success.token_minus_pooled",
            "Success, by tokens minus pooled",
            compared,
            against="the autoencoder of pooled rows",
        )
        yield one.model_copy(update={"pathway": pathway, **where})


def _layer(outcome: Outcome, pathway: str) -> dict[str, Any]:
    """The relative depth of a pathway's autoencoders."""
    return {"at": next((f.at for f in outcome.found if f.pathway == pathway), None)}
