"""Several tests at once: how likely is a single false finding among them?"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of a family of p-values; None (no test) stays None.

    The i-th smallest of m becomes the largest of p_(j) (m - j + 1), j <= i, at most 1 (Holm, Scand.
    J. Statistics 6, 1979). statsmodels' `multipletests` gives the same and collects garbage at
    every call, which takes most of a second in a process as large as a policy's.
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    found: list[float | None] = [None] * len(ps)
    so_far = 0.0
    for rank, (p, i) in enumerate(known):
        so_far = max(so_far, min(1.0, p * (len(known) - rank)))
        found[i] = so_far
    return found
