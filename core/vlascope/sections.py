"""What a section of a report is made of: words, tables, figures and pictures, as plain data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlascope.statistics import Estimate

__all__ = ["Block", "Cell", "Figure", "Picture", "Prose", "Section", "Table"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """A measured number in a table, printed with its interval and n.

    Attributes:
        estimate: the number.
        unit: `share`, `m`, `1` or another; decides the digits.
        signed: whether it is a difference.
    """

    estimate: Estimate
    unit: str = "share"
    signed: bool = False


class Prose(_Frozen):
    """A paragraph; `` `code` `` is shown as code."""

    type: Literal["prose"] = "prose"
    text: str


class Table(_Frozen):
    """Rows of cells under columns; the first column heads its rows.

    Attributes:
        caption: what the numbers are and how they came about.
        rows: text, plain numbers (shown to three digits), or `Cell`s; None is an empty cell.
        folded: shown closed, for long tables.
    """

    type: Literal["table"] = "table"
    title: str = ""
    caption: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | Cell | None, ...], ...]
    folded: bool = False


class Figure(_Frozen):
    """An interactive drawing.

    Attributes:
        plotly: `{"data": [...], "layout": {...}}`.
        wide: takes the page's whole width.
    """

    type: Literal["figure"] = "figure"
    title: str = ""
    caption: str = ""
    plotly: dict[str, Any]
    wide: bool = True


class Picture(_Frozen):
    """An image.

    Attributes:
        uri: `data:image/png;base64,...`.
        alt: what is to be seen, for those who do not see it.
    """

    type: Literal["picture"] = "picture"
    title: str = ""
    caption: str = ""
    uri: str
    alt: str


Block = Annotated[Prose | Table | Figure | Picture, Field(discriminator="type")]


class Section(_Frozen):
    """A chapter of the report.

    Attributes:
        name: the study's name for the recipe or analysis, unique in the report.
        sentences: what was found, each with its n, interval and control.
        unresolved: what these numbers cannot tell.
    """

    name: str
    title: str
    policy: str = ""
    sentences: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    unresolved: tuple[str, ...] = ()
