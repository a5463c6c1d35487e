"""Maps of targets by layer, and one measure against another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from vlascope.comparison.members import Spot
from vlascope.comparison.report.drawings import Dot, Dots, Heat, HeatPanel
from vlascope.comparison.report.places import Held, by
from vlascope.comparison.report.saying import axis_of, capital, file_name
from vlascope.statistics import Estimate

__all__ = ["SPARSENESS", "against", "maps"]

FEWEST_ROWS = 3
SPARSENESS: Final = "l0"
"""The part of a key that other measures of the same place are drawn against."""
FIDELITY: Final = "fidelity"
"""In the keys of what is to be read against sparseness, whether or not a claim speaks of it."""


def maps(question: str, held: Sequence[Held], claimed: Callable[[str], bool]) -> Iterator[Heat]:
    """One per measure of several targets in several layers, a map per pathway; the first is open.

    Args:
        question: the question's name.
        held: numbers of single layers.
        claimed: whether a claim speaks of a key; such maps stand open too.
    """
    first = True
    for what, mine in by(held, lambda h: h.kind).items():
        if len({h.key for h in mine}) < FEWEST_ROWS:
            continue
        panels = tuple(_panels(mine))
        if not panels:
            continue
        example = mine[0].example
        folded = not (first or any(claimed(h.key) for h in mine))
        first = False
        yield Heat(
            name=file_name(question, what[0], "map"),
            folded=folded,
            title=capital(what[0].partition(".")[2].replace("_", " ")) + ", target by layer",
            caption="One colour scale for all maps; hover or read the table for intervals and n.",
            unit=example.unit,
            signed=example.signed,
            axis=axis_of(example),
            panels=panels,
        )


def _panels(held: Sequence[Held]) -> Iterator[HeatPanel]:
    entries = list(dict.fromkeys(entry for h in held for entry in h.values))
    for entry in entries:
        for panel, mine in by(held, lambda h: h.panel).items():
            known = {
                (h.example.label, h.spot.at): h.values[entry] for h in mine if entry in h.values
            }
            columns = sorted({at for _, at in known})
            if len(columns) < 2:
                continue
            rows = tuple(dict.fromkeys(label for label, _ in known))
            cells = tuple(tuple(known.get((row, at)) for at in columns) for row in rows)
            yield HeatPanel(
                entry=entry,
                title=f"{entry}: {panel}",
                rows=rows,
                columns=tuple(at / 100 for at in columns),
                cells=cells,
            )


def against(question: str, held: Sequence[Held], claimed: Callable[[str], bool]) -> Iterator[Dots]:
    """Every measure beside the sparseness of the same place, where a question reports it.

    What was learned from other rows (`KEY.token`, `KEY.pooled`) has panels of its own; variants of
    one kind (`KEY.token`, `KEY.token_1_in_8`) are points of one line. Open are those that a claim
    speaks of, and fidelities.
    """
    sparse: dict[tuple[str, Spot], Estimate] = {}
    for one in held:
        if SPARSENESS in one.key.split("."):
            for entry, value in one.values.items():
                sparse[entry, _bare(one.spot)] = value
    others = [h for h in held if SPARSENESS not in h.key.split(".")] if sparse else []
    variants = {spot.key for _, spot in sparse}
    for what, mine in by(others, lambda h: h.kind).items():
        dots = tuple(_dots(mine, sparse, variants))
        if not dots:
            continue
        example = mine[0].example
        axis = axis_of(example)
        yield Dots(
            name=file_name(question, what[0], "against", SPARSENESS),
            title=capital(_measured(what[0])) + " against L0",
            folded=not (FIDELITY in what[0] or any(claimed(h.key) for h in mine)),
            caption="A point per sparsity, an entry's joined; bars are 95% intervals. Points stand "
            "a little aside of their L0 so that entries do not hide one another.",
            unit=example.unit,
            signed=example.signed,
            x_axis="L0: features active at once",
            y_axis=_measured(what[0]) + (f", {axis}" if axis not in ("value", "share") else ""),
            panels=tuple(dict.fromkeys(d.panel for d in dots)),
            dots=dots,
        )


def _dots(
    held: Sequence[Held], sparse: Mapping[tuple[str, Spot], Estimate], variants: Collection[str]
) -> Iterator[Dot]:
    for one in held:
        bare = _bare(one.spot)
        panel = ": ".join(filter(None, (one.panel, _kind(bare.key, variants))))
        for entry, value in one.values.items():
            found = sparse.get((entry, bare))
            if found is not None:
                yield Dot(entry=entry, panel=panel, label=one.title, x=found, y=value)


def _kind(variant: str, variants: Collection[str]) -> str:
    """The shortest variant that this one begins with, as people say it."""
    heads = [v for v in variants if variant == v or variant.startswith(f"{v}_")]
    return min(heads, key=len, default=variant).replace("_", " ")


def _measured(what: str) -> str:
    """`saes.action_fidelity` as `action fidelity`."""
    return what.partition(".")[2].replace("_", " ")


def _bare(spot: Spot) -> Spot:
    """The spot with the key's variant alone: what two measures of one thing have in common."""
    return replace(spot, key=".".join(spot.key.split(".")[2:]))
