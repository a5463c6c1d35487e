"""What a reader needs to get the same numbers."""

from __future__ import annotations

from typing import Final

from vlascope.comparison.report.content import ComparisonContent

__all__ = ["METHODS", "commands"]

METHODS: Final = (
    "Every entry is asked the same battery. Options that name parts of a network are suggested by "
    "each recipe from the policy's own pathways; everything else is the battery's.",
    "Numbers of two entries stand in one row where measure, pathway, depth and site agree. Depth "
    "is relative: 0 is a pathway's first layer, 1 its last; thirds are early, mid and late.",
    "Episodes are the unit. Differences are paired by task and seed. Intervals are at 95%; the "
    "table names how each question's came about. An environment's failure is a missing value.",
    "Pooled numbers come from a random-effects model over architectures: seeds of one "
    "architecture are averaged first. I² is the share of variance between architectures, τ their "
    "standard deviation, and the last interval is where another architecture is expected.",
    "A verdict holds a published claim against these numbers: it agrees or disagrees where the "
    "interval allows it, and cannot tell otherwise; then the n that would tell is given.",
)


def commands(content: ComparisonContent) -> tuple[tuple[str, str], ...]:
    """What to run for everything, for each entry's numbers, and for this page alone."""
    run = f"vlascope compare {content.name}.yaml --out {content.name}"
    found = [
        ("everything, with what is missing played", f"{run} --yes"),
        ("this report from what was played", f"{run} --report-only"),
    ]
    for entry in content.entries:
        found.append((f"every number of {entry.entry}", f"{run} --entry {entry.entry} --yes"))
        own = f"vlascope report {content.name}/{entry.entry}"
        found.append((f"{entry.entry}: its own report, arm by arm", own))
    return tuple(found)
