"""One number about one policy, in a form that can stand beside the same number of another."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vlascope.statistics import Comparison, Estimate

__all__ = ["Bounds", "Depth", "Quantity", "of_difference"]

Depth = Literal["", "early", "mid", "late"]
Bounds = tuple[float | None, float | None]
"""The least and the most that a number can be; None where nothing bounds it."""


def of_difference(bounds: Bounds) -> Bounds:
    """What a difference of two numbers within these bounds can be."""
    low, high = bounds
    return (None, None) if low is None or high is None else (low - high, high - low)


class Quantity(BaseModel):
    """What a recipe measured, keyed so that policies of any architecture can be compared.

    Numbers of two policies are comparable where `key`, `pathway`, `depth` and `site` agree.

    Attributes:
        key: what is measured, `RECIPE.WHAT[.VARIANT][.PART]`: `language.effect.null.shared`.
        label: the same in a few words, for a table's row.
        value: the number; without a value where `why_not` says why.
        unit: `share`, `m`, `1` or another; decides the digits.
        signed: whether it is a difference.
        pathway, depth, site: where in the network; empty where it is about the whole policy.
        at: relative depth of a single layer, 0 the first and 1 the last; None otherwise.
        against: the control it is set against, in words; empty for a plain rate.
        p: two-sided, adjusted over the recipe's family; None where there is none.
        detectable: smallest true difference found with 80% power at this n.
        norm_ratio: mean size of the edit relative to the activation, from receipts.
        why_not: why there is no number (`no such pathway`, `dead site`, ...); else empty.
        bounds: the least and the most that it can be; by default those of its unit, which are of
            a share 0 and 1, and of a difference of two shares -1 and 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    label: str
    value: Estimate | None
    unit: str = "share"
    signed: bool = False
    pathway: str = ""
    depth: Depth = ""
    site: str = ""
    at: float | None = None
    against: str = ""
    p: float | None = None
    detectable: float | None = None
    norm_ratio: float | None = None
    why_not: str = ""
    bounds: Bounds | None = None

    @property
    def within(self) -> Bounds:
        """The least and the most that it can be."""
        if self.bounds is not None:
            return self.bounds
        if self.unit != "share":
            return None, None
        return of_difference((0.0, 1.0)) if self.signed else (0.0, 1.0)

    @classmethod
    def of(
        cls, key: str, label: str, found: Comparison, *, against: str, unit: str = "share",
        bounds: Bounds | None = None,
    ) -> Quantity:  # fmt: skip
        """A paired difference with its p and the smallest difference that n would show.

        Args:
            key: as in the quantity, like `label`, `against` and `unit`.
            label: in a few words.
            found: the comparison.
            against: the control.
            unit: of what is compared.
            bounds: of what is compared; by default those of its unit.
        """
        return cls(
            key=key,
            label=label,
            value=found.difference,
            unit=unit,
            signed=True,
            against=against,
            p=found.p,
            detectable=found.detectable,
            bounds=None if bounds is None else of_difference(bounds),
        )
