"""Success with each reconstruction in place, paired with the unhooked policy and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlascope.counterfactuals.sensitivity import told_apart
from vlascope.statistics import Comparison, Estimate, holm
from vlascope.study.findings import estimate, paired
from vlascope.study.recipe import Reading
from vlascope_sae.recipes.options import Per
from vlascope_sae.recipes.results import Outcome

if TYPE_CHECKING:
    from vlascope_sae.recipes.saes import SAEs

__all__ = ["Hooked", "arm_of", "between_kinds", "hooked_arms", "outcome_of", "unhooked"]


@dataclass(frozen=True)
class Hooked:
    """One splice that was played.

    Attributes:
        unhooked, identity, random: the splice minus these, paired; None where not played.
        p: against unhooked, after Holm over the recipe's splices.
        ratio: ||dx|| / ||x||, mean over episodes.
    """

    pathway: str
    per: Per
    arm: str
    point: str
    success: Estimate
    unhooked: Comparison
    identity: Comparison | None
    random: Comparison | None
    random_success: Estimate | None
    p: float | None
    ratio: float | None

    def changed(self, alpha: float) -> bool:
        """Whether success differs from the unhooked policy's."""
        return told_apart(self.unhooked.difference, self.p, alpha)


def arm_of(name: str, pathway: str, per: Per) -> str:
    """The arm's name in the study."""
    return f"{name}_{pathway}_{per}"


def outcome_of(reading: Reading) -> Outcome | None:
    """What the training left; None where it failed."""
    result = reading.analyses.get(f"{reading.name}_training")
    return None if result is None else Outcome.model_validate(result.data)


def unhooked(reading: Reading) -> Estimate:
    """The baseline's success."""
    baseline = reading.measuring.design.study.baseline_arm
    return estimate("success", reading.measuring.values(reading.policy, baseline, "success"))


def hooked_arms(recipe: SAEs, reading: Reading) -> list[Hooked]:
    """Every splice that was played, p adjusted over all of them."""
    outcome = outcome_of(reading) or Outcome()
    found = [
        _hooked(reading, pathway, per, "" if one is None else one.point)
        for pathway in recipe.at.pathways
        for per in recipe.per
        for one in [outcome.of(pathway, per)]
        if _played(reading, arm_of(reading.name, pathway, per))
    ]
    adjusted = holm([h.unhooked.p for h in found])
    return [replace(h, p=p) for h, p in zip(found, adjusted, strict=True)]


def between_kinds(reading: Reading, hooked: Sequence[Hooked], pathway: str) -> Comparison | None:
    """Success by tokens minus success pooled, at one pathway."""
    arms = {h.per: h.arm for h in hooked if h.pathway == pathway}
    if len(arms) < 2:
        return None
    return _against(reading, arms["token"], arms["pooled"])


def _hooked(reading: Reading, pathway: str, per: Per, point: str) -> Hooked:
    measuring, policy = reading.measuring, reading.policy
    arm = arm_of(reading.name, pathway, per)
    controls = measuring.design.controls(arm)
    played = {role: other for role, other in controls.items() if _played(reading, other)}
    random = played.get("random_direction")
    identity = played.get("identity")
    versus = _against(reading, arm, measuring.design.study.baseline_arm)
    return Hooked(
        pathway=pathway,
        per=per,
        arm=arm,
        point=point,
        success=estimate("success", measuring.values(policy, arm, "success")),
        unhooked=versus,
        identity=None if identity is None else _against(reading, arm, identity),
        random=None if random is None else _against(reading, arm, random),
        random_success=None
        if random is None
        else estimate("success", measuring.values(policy, random, "success")),
        p=versus.p,
        ratio=_ratio(reading, arm),
    )


def _against(reading: Reading, arm: str, control: str) -> Comparison:
    measuring, policy = reading.measuring, reading.policy
    values = measuring.values(policy, arm, "success")
    return paired("success", values, measuring.values(policy, control, "success"))


def _played(reading: Reading, arm: str) -> bool:
    return any(e.ok for e in reading.measuring.episodes.of(reading.policy, arm))


def _ratio(reading: Reading, arm: str) -> float | None:
    records = [e.record for e in reading.measuring.episodes.of(reading.policy, arm) if e.ok]
    ratios = [r.dx_ratio_mean for record in records for r in record.receipts]
    known = [r for r in ratios if r is not None]
    return sum(known) / len(known) if known else None
