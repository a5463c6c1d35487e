"""What a measured number is: never without its n and how sure it is."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

__all__ = ["CONFIDENCE", "Comparison", "Estimate"]

CONFIDENCE: Final = 0.95
"""Coverage of every interval, unless said otherwise."""


class Estimate(BaseModel):
    """A measured value.

    Attributes:
        value: the point estimate; None where nothing was measured.
        low, high: the interval at `CONFIDENCE`; None where n does not allow one.
        n: how many episodes (or pairs of episodes) it rests on.
        missing: how many were left out because they have no value.
        method: how the interval came about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    low: float | None
    high: float | None
    n: int
    missing: int = 0
    method: str

    @property
    def resolved(self) -> bool:
        """Whether the interval is known and leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Comparison(BaseModel):
    """One arm against another on pairs of episodes that share task and seed.

    Attributes:
        difference: mean of (arm - control) over the pairs.
        p: two-sided; None where no pair exists.
        test: what `p` comes from.
        detectable: smallest true difference found with 80% power at this n; None where even the
            largest would be missed.
        detectable_method: how that was worked out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    difference: Estimate
    p: float | None
    test: str
    detectable: float | None
    detectable_method: str
