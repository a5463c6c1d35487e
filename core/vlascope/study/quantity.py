"""One number about one policy, in a form that can stand beside the same number of another."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vlascope.statistics import Comparison, Estimate

__all__ = ["Depth", "Quantity"]

Depth = Literal["", "early", "mid", "late"]


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

    @classmethod
    def of(
        cls, key: str, label: str, found: Comparison, *, against: str, unit: str = "share"
    ) -> Quantity:
        """A paired difference with its p and the smallest difference that n would show."""
        return cls(
            key=key,
            label=label,
            value=found.difference,
            unit=unit,
            signed=True,
            against=against,
            p=found.p,
            detectable=found.detectable,
        )
