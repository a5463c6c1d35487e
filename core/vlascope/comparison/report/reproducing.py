"""What a reader needs to get the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vlascope.comparison.report.content import ComparisonContent
from vlascope.study.shipped import COMPARISONS, shipped

__all__ = ["METHODS", "Commands", "commands"]

METHODS: Final = (
    "Every entry is asked the same battery. Options that name parts of a network are suggested by "
    "each recipe from the policy's own pathways, and so is pairing runs span by span where its "
    "token counts depend on the prompt; everything else is the battery's.",
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


@dataclass(frozen=True)
class Commands:
    """What to type; every command plays what is missing in its directory, and nothing twice.

    Attributes:
        whole: what for, and the command.
        again: by question, the command for any entry's numbers, with `ENTRY` in it.
        by_entry: by question, the entries with numbers and the command for each.
    """

    whole: tuple[tuple[str, str], ...]
    again: dict[str, str]
    by_entry: dict[str, tuple[tuple[str, str], ...]]


def commands(content: ComparisonContent) -> Commands:
    """What to run for everything, for each entry, for each number, and for this page alone.

    A comparison that a plugin ships is named, any other is the file of its name.
    """
    known = content.name in shipped(COMPARISONS)
    run = f"vlascope compare {content.name if known else f'{content.name}.yaml'}"
    whole = [
        ("everything, with what is missing played", f"{run} --yes"),
        ("this report from what was played", f"{run} --report-only"),
    ]
    for entry in content.entries:
        whole.append((f"every number of {entry.entry}", f"{run} --entry {entry.entry} --yes"))
        own = f"vlascope report runs/{content.name}/{entry.entry}"
        whole.append((f"{entry.entry}: its own report, arm by arm", own))
    again = {
        c.question: f"{run} --entry ENTRY --question {c.question} --yes" for c in content.chapters
    }
    by_entry = {
        c.question: tuple(
            (e.entry, again[c.question].replace("ENTRY", e.entry))
            for e in content.entries
            if e.entry not in c.without
        )
        for c in content.chapters
    }
    return Commands(tuple(whole), again, by_entry)
