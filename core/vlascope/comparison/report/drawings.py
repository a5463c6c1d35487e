"""What a comparison's figures show, as data; pages and files only draw it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope.statistics import Estimate

__all__ = [
    "Dot",
    "Dots",
    "Drawing",
    "Forest",
    "ForestRow",
    "Heat",
    "HeatPanel",
    "Profile",
    "Strand",
    "is_null",
    "trails",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Drawn(_Frozen):
    """What every drawing has.

    Attributes:
        name: of the files it is written to; unique in the report.
        unit: of the numbers; `signed` where they are differences.
        folded: shown closed, where no claim speaks of it.
    """

    name: str
    title: str
    caption: str
    unit: str = "share"
    signed: bool = False
    folded: bool = False


class Strand(_Frozen):
    """One entry's numbers along a pathway.

    Attributes:
        entry: whose colour and symbol it has.
        panel: the pathway or other heading under which it is drawn.
        at: relative depths, 0 the first layer and 1 the last, ascending.
        values: one per depth.
    """

    entry: str
    panel: str
    at: tuple[float, ...]
    values: tuple[Estimate, ...]


class Profile(_Drawn):
    """Numbers over relative depth: a line per entry, a panel per pathway."""

    type: Literal["profile"] = "profile"
    axis: str
    panels: tuple[str, ...]
    strands: tuple[Strand, ...]


class Beside(_Frozen):
    """A control's own value."""

    label: str
    value: Estimate


class ForestRow(_Frozen):
    """A number with its interval on a line of its own.

    Attributes:
        entry: whose colour and symbol; empty for a pooled number, drawn as a diamond.
        group: the heading above it.
        controls: the same measure under controls, drawn in grey.
        spread: the interval in which another architecture is expected; None without.
    """

    label: str
    value: Estimate
    entry: str = ""
    group: str = ""
    controls: tuple[Beside, ...] = ()
    spread: tuple[float, float] | None = None


class Forest(_Drawn):
    """Numbers below one another, grouped, with what was pooled over entries."""

    type: Literal["forest"] = "forest"
    axis: str
    rows: tuple[ForestRow, ...]

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that any row has: those drawn as bands first, then as they are met."""
        met = dict.fromkeys(c.label for row in self.rows for c in row.controls)
        return tuple(sorted(met, key=lambda label: not is_null(label)))

    @property
    def marked(self) -> tuple[str, ...]:
        """The controls that have marks of their own, below their row."""
        return tuple(label for label in self.controls if not is_null(label))


def is_null(control: str) -> bool:
    """Whether a control is what chance would do (an edit drawn at random): drawn as a band."""
    return control.startswith("random")


class Dot(_Frozen):
    """One thing measured in two ways; dots of an entry in one panel are joined."""

    entry: str
    panel: str
    label: str
    x: Estimate
    y: Estimate


class Dots(_Drawn):
    """One measure against another; `unit` is that of the upright axis."""

    type: Literal["dots"] = "dots"
    x_axis: str
    y_axis: str
    x_unit: str = "1"
    panels: tuple[str, ...]
    dots: tuple[Dot, ...]


def trails(drawing: Dots, panel: str) -> dict[str, list[Dot]]:
    """The dots of one panel by entry, from left to right."""
    found: dict[str, list[Dot]] = {}
    for dot in drawing.dots:
        if dot.panel == panel:
            found.setdefault(dot.entry, []).append(dot)
    return {e: sorted(mine, key=lambda d: d.x.value or 0.0) for e, mine in found.items()}


class HeatPanel(_Frozen):
    """One entry's map.

    Attributes:
        columns: relative depths.
        cells: rows x columns; None where nothing was measured.
    """

    entry: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[float, ...]
    cells: tuple[tuple[Estimate | None, ...], ...]


class Heat(_Drawn):
    """Numbers by row and relative depth, a map per entry, all on one scale."""

    type: Literal["heat"] = "heat"
    axis: str
    panels: tuple[HeatPanel, ...]


Drawing = Annotated[Profile | Forest | Dots | Heat, Field(discriminator="type")]
