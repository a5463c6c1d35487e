"""Which figure shows which numbers, decided by their coordinates alone, so for any question."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from vlascope.comparison.members import Spot
from vlascope.comparison.report.drawings import (
    Beside,
    Drawing,
    Forest,
    ForestRow,
    Profile,
    Strand,
    is_null,
)
from vlascope.comparison.report.maps import against, maps
from vlascope.comparison.report.places import Held, by, where
from vlascope.comparison.report.saying import axis_of, capital, file_name
from vlascope.statistics import Estimate

__all__ = ["Pooled", "arranged"]

Pooled = Mapping[Spot, ForestRow]
"""What was pooled over entries, by place."""

MOST_ROWS = 60
"""Of one forest; longer ones are parted."""

WHOLE = "whole policy"


def arranged(
    question: str, held: Sequence[Held], pooled: Pooled, claimed: Callable[[str], bool]
) -> tuple[Drawing, ...]:
    """Profiles over depth, maps, one measure against another, and forests.

    A control's own value is drawn beside what it controls; a difference from a control is left to
    the table, as it can be seen there, unless a claim speaks of it.

    Args:
        question: the question's name.
        held: its quantities.
        pooled: what was pooled of them.
        claimed: whether a claim speaks of a key; such figures stand open and first.
    """
    shown = [h for h in held if h.values]
    controls = _controls(shown)
    own = [h for h in shown if h.key not in controls]
    drawn = [h for h in own if ".against." not in h.key or claimed(h.key)]
    layers = [h for h in drawn if h.spot.at >= 0]
    thirds = [h for h in drawn if h.spot.at < 0 and h.spot.depth]
    deep = {key for key, mine in by(layers, lambda h: h.key).items() if _has_line(mine)}
    rest = [h for h in drawn if h.key not in deep]
    found: list[Drawing] = [
        *_profiles(question, thirds, "thirds", claimed),
        *_profiles(question, layers, "depth", claimed),
        *maps(question, layers, claimed),
        *against(question, drawn, claimed),
        *_forests(question, rest, {h.spot: h for h in shown}, pooled, claimed),
    ]
    if found and all(d.folded for d in found):
        found[0] = found[0].model_copy(update={"folded": False})
    named = list(_distinct(found))
    order = list(dict.fromkeys(_measure(d) for d in named))
    return tuple(sorted(named, key=lambda d: (d.folded, order.index(_measure(d)))))


def _measure(drawing: Drawing) -> str:
    """What a profile and a forest of the same numbers have in common."""
    return drawing.name.removesuffix("_thirds").removesuffix("_depth")


def _distinct(found: Sequence[Drawing]) -> Iterator[Drawing]:
    """Names that differ, as files are called by them."""
    seen: dict[str, int] = {}
    for drawing in found:
        seen[drawing.name] = before = seen.get(drawing.name, 0) + 1
        if before == 1:
            yield drawing
        else:
            yield drawing.model_copy(update={"name": f"{drawing.name}_{before}"})


def _controls(held: Sequence[Held]) -> set[str]:
    """Keys that are another's key and the name of a control: `KEY.no_injection` beside `KEY`."""
    keys = {h.key for h in held}
    return {key for key in keys if key.rpartition(".")[0] in keys and not key.endswith(".effect")}


def _profiles(
    question: str, held: Sequence[Held], kind: str, claimed: Callable[[str], bool]
) -> Iterator[Profile]:
    """One per measure that some entry has at two depths or more."""
    note = " Thirds of a pathway stand at their middle." if kind == "thirds" else ""
    for key, mine in by(held, lambda h: h.key).items():
        panels = tuple(dict.fromkeys(h.panel for h in mine))
        strands = tuple(s for panel in panels for s in _strands(panel, mine))
        if not _has_line(mine):
            continue
        example = mine[0].example
        yield Profile(
            name=_name(question, key, kind),
            title=f"{capital(example.label)}, over depth",
            caption=f"0 is a pathway's first layer, 1 its last.{note}{_told(mine)}",
            unit=example.unit,
            signed=example.signed,
            axis=axis_of(example),
            panels=panels,
            strands=strands,
            folded=not claimed(key),
        )


def _has_line(held: Sequence[Held]) -> bool:
    """Whether some entry has two depths of one pathway."""
    return any(len(s.at) > 1 for panel in {h.panel for h in held} for s in _strands(panel, held))


def _strands(panel: str, held: Sequence[Held]) -> Iterator[Strand]:
    """The lines of one panel, in the entries' order."""
    points: dict[str, dict[float, Estimate]] = {}
    for one in held:
        if one.panel == panel:
            for entry, value in one.values.items():
                points.setdefault(entry, {})[one.relative] = value
    for entry, values in points.items():
        depths = sorted(values)
        yield Strand(
            entry=entry, panel=panel, at=tuple(depths), values=tuple(values[d] for d in depths)
        )


def _forests(
    question: str, held: Sequence[Held], known: Mapping[Spot, Held], pooled: Pooled,
    claimed: Callable[[str], bool],
) -> Iterator[Forest]:  # fmt: skip
    """One per measure, or per kind of measure where it has no place; parted where too long."""
    for (head, *_), mine in by(held, _kind).items():
        parts = list(_parted(mine))
        for few in parts:
            example = few[0].example
            rows = tuple(row for one in _headed(few) for row in _rows(*one, known, pooled))
            yield Forest(
                name=_name(question, head),
                title=_heading(few, head),
                caption=_legend(few, rows),
                unit=example.unit,
                signed=example.signed,
                axis=axis_of(example),
                rows=rows,
                folded=not any(claimed(h.key) for h in few)
                or _seen_in_profile(mine, rows, parts=len(parts)),
            )


def _name(question: str, key: str, kind: str = "") -> str:
    """A file's name; the question is said once where the key begins with it."""
    return file_name("" if key.startswith(question) else question, key, kind)


def _seen_in_profile(held: Sequence[Held], rows: Sequence[ForestRow], *, parts: int) -> bool:
    """Whether a profile shows the same numbers, and this neither their controls in one piece."""
    thirds = [h for h in held if h.spot.depth]
    return _has_line(thirds) and (parts > 1 or not any(row.controls for row in rows))


def _kind(one: Held) -> tuple[str, Hashable, Hashable]:
    placed = one.panel or one.spot.depth
    head = one.key if placed else one.what
    return head, one.example.unit, one.example.signed


def _heading(held: Sequence[Held], head: str) -> str:
    """The label that all have in common, else the kind of measure."""
    labels = {h.example.label for h in held}
    if len(labels) == 1:
        return capital(labels.pop())
    return capital(head.partition(".")[2].replace("_", " ").replace(".", ", ") or head)


def _parted(held: Sequence[Held]) -> Iterator[Sequence[Held]]:
    kept: list[Held] = []
    for one in held:
        if kept and sum(len(h.values) + 2 for h in (*kept, one)) > MOST_ROWS:
            yield kept
            kept = []
        kept.append(one)
    yield kept


def _headed(held: Sequence[Held]) -> Iterator[tuple[Held, str]]:
    """Each with what sets it apart from the others: its place alone where all measure the same."""
    same = len({h.example.label for h in held}) == 1 and len(held) > 1
    for one in held:
        yield one, (where(one.spot) or WHOLE) if same else one.title


def _rows(
    one: Held, heading: str, known: Mapping[Spot, Held], pooled: Pooled
) -> Iterator[ForestRow]:
    beside = _beside(one, known)
    for entry, value in one.values.items():
        controls = tuple(
            Beside(label=label, value=theirs.values[entry])
            for label, theirs in beside.items()
            if entry in theirs.values
        )
        yield ForestRow(label=entry, entry=entry, group=heading, value=value, controls=controls)
    if one.spot in pooled:
        both = tuple(
            Beside(label=label, value=pooled[held.spot].value)
            for label, held in beside.items()
            if held.spot in pooled
        )
        yield pooled[one.spot].model_copy(update={"group": heading, "controls": both})


def _beside(one: Held, known: Mapping[Spot, Held]) -> dict[str, Held]:
    """Each control at the same place."""
    return {
        name: held
        for other, held in known.items()
        if (name := one.spot.control_in(other)) and held.example.signed == one.example.signed
    }


def _legend(held: Sequence[Held], rows: Sequence[ForestRow]) -> str:
    """What the marks are."""
    told = _told(held)
    controls = {c.label for row in rows for c in row.controls}
    if any(map(is_null, controls)):
        told += " Bands: the interval of the same measure where the edit has a random direction and"
        told += " the same norm, an upright line at its value."
    if not all(map(is_null, controls)):
        told += " Grey marks: the same measure under each other control."
    if any(not row.entry for row in rows):
        told += " Diamonds: random-effects means over architectures"
        spread = any(row.spread for row in rows)
        told += "; dotted: where another architecture is expected." if spread else "."
    return told.strip()


def _told(held: Sequence[Held]) -> str:
    """What the numbers are set against, once."""
    beside = list(dict.fromkeys(h.example.against for h in held if h.example.against))
    return f" Set against {', '.join(beside)}." if beside else ""
