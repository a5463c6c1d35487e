"""What of the picture does the policy need? Perturbations by severity, and an occlusion grid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from vlascope import plugins
from vlascope.perturbations import parse_perturbations
from vlascope.sections import Section
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm

if TYPE_CHECKING:
    from vlascope.study.quantity import Quantity

__all__ = ["CONTROL", "STANDARD", "Variation", "Vision"]

Data = tuple[dict[str, Any], ...]

STANDARD: Mapping[str, Data] = {
    "crop": ({"kind": "crop"},),
    "rotate": ({"kind": "rotate"},),
    "flip": ({"kind": "flip"},),
    "blur": ({"kind": "blur"},),
    "noise": ({"kind": "noise"},),
    "darker": ({"kind": "brightness"},),
    "brighter": ({"kind": "brightness", "direction": "brighter"},),
    "contrast": ({"kind": "contrast"},),
    "colour": ({"kind": "colour"},),
    "greyscale": ({"kind": "greyscale"},),
    "left_half": ({"kind": "half_mask", "side": "left", "severity": 1.0},),
    "right_half": ({"kind": "half_mask", "side": "right", "severity": 1.0},),
    "top_half": ({"kind": "half_mask", "side": "top", "severity": 1.0},),
    "bottom_half": ({"kind": "half_mask", "side": "bottom", "severity": 1.0},),
    "freeze_first": ({"kind": "freeze_first"},),
    "camera_drop": ({"kind": "camera_drop"},),
}
"""What is played unless a study says otherwise; `camera_swap` needs two cameras and is left out."""

CONTROL = 0.02
"""Severity of the control's noise: a standard deviation of 1.3 of 255."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
Severities = tuple[Annotated[float, Field(gt=0, le=1)], ...]


@dataclass(frozen=True)
class Variation:
    """One arm's perturbation.

    Attributes:
        label: by which the study knows it.
        severity: None where it is written into `data`, or is 1 for want of degrees.
        cell: (row, column) of the occlusion grid.
    """

    label: str
    data: Data
    severity: float | None = None
    cell: tuple[int, int] | None = None


class Vision(Recipe):
    """Arms for each perturbation by severity and for each cell of an occlusion grid.

    Success is set against the clean baseline. A displacement is never negative and any change of
    the picture moves a hand a little, so it is set against a control: noise too faint to matter.

    Attributes:
        perturbations: `{kind: ...}` or a list of such, by name; by default `STANDARD`.
        severities: played of every perturbation that has degrees and says no severity itself.
        grid: cells along either side of the occlusion grid; None for no grid.
        fill: what covers a cell: `grey`, `black`, `white` or `mean`.
        cameras: globs of the cameras that are perturbed.
        maps: heat maps of single tasks, at most, beside that of all tasks.
        alpha: level at which an effect counts as found, after Holm's adjustment over the
            perturbations, and over the cells.
    """

    kind: ClassVar[str] = "vision"
    title: ClassVar[str] = "What of the picture does the policy need?"

    perturbations: dict[str, Data] = Field(default_factory=lambda: dict(STANDARD))
    severities: Annotated[Severities, Field(min_length=1)] = (0.5, 1.0)
    grid: Annotated[int, Field(ge=2, le=16)] | None = 4
    fill: str = "grey"
    cameras: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    maps: Annotated[int, Field(ge=0)] = 3
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @field_validator("perturbations", mode="before")
    @classmethod
    def _one_is_many(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: (v,) if isinstance(v, Mapping) else v for k, v in value.items()}

    @field_validator("perturbations")
    @classmethod
    def _names_are_names(cls, value: dict[str, Data]) -> dict[str, Data]:
        wrong = [name for name in value if not _NAME.fullmatch(name) or name in ("cell", "control")]
        if wrong:
            raise ValueError(
                f"{wrong} cannot name perturbations: use lower-case letters, digits and _, and "
                "neither `cell` nor `control`"
            )
        return value

    def parts(self, name: str, scope: Scope) -> Parts:
        """The control, the perturbations, the cells, and the pictures to draw on."""
        arms = {f"{name}_control": self._arm(self.control())}
        arms |= {f"{name}_{v.label}": self._arm(v) for v in self.variations()}
        arms |= {f"{name}_{v.label}": self._arm(v) for v in self.cells()}
        tiles = {v.label: self._placed(v.data) for v in self.variations()}
        looks = {
            "kind": "first_looks",
            "arms": (scope.baseline,),
            "tasks": max(1, self.maps),
            "cameras": self.cameras,
            "tiles": tiles,
        }
        return Parts(arms=arms, analyses={f"{name}_looks": looks})

    def section(self, reading: Reading) -> Section:
        """Heat maps, tables, and what cannot be told."""
        from vlascope.recipes.vision_section import vision_section

        return vision_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """Success and displacement under every perturbation; how many covered cells matter."""
        from vlascope.recipes.vision_quantities import vision_quantities

        return vision_quantities(self, reading)

    def control(self) -> Variation:
        """Noise too faint to matter."""
        return Variation("control", ({"kind": "noise", "severity": CONTROL},))

    def variations(self) -> list[Variation]:
        """Every perturbation at every severity.

        Raises:
            UnknownName: no plugin registers such a kind.
            pydantic.ValidationError: the fields do not fit.
        """
        found = []
        for label, data in self.perturbations.items():
            said = any("severity" in part for part in data)
            if said or all(plugins.perturbation_class(_kind(part)).by_share for part in data):
                found.append(Variation(label, data))
                continue
            for severity in self.severities:
                parts = tuple({**part, "severity": severity} for part in data)
                found.append(Variation(f"{label}_{round(100 * severity):03d}", parts, severity))
        return found

    def cells(self) -> list[Variation]:
        """Every cell of the grid, row by row."""
        n = self.grid or 0
        return [
            Variation(
                f"cell_{row}_{column}",
                ({"kind": "occlusion", "grid": n, "cell": [row, column], "fill": self.fill},),
                cell=(row, column),
            )
            for row in range(n)
            for column in range(n)
        ]

    def _placed(self, data: Data) -> Data:
        """The data with the recipe's cameras, checked and written out in full."""
        named = tuple({"cameras": self.cameras, **part} for part in data)
        return tuple(p.model_dump(mode="json") for p in parse_perturbations(named))

    def _arm(self, variation: Variation) -> Arm:
        data = self._placed(variation.data)
        return Arm(about=_about(variation, data), perturb=data)


def _kind(part: Mapping[str, Any]) -> str:
    return str(part.get("kind", ""))


def _about(variation: Variation, data: Data) -> str:
    if variation.label == "control":
        return f"control: noise too faint to matter (severity {CONTROL:g})"
    if variation.cell is not None:
        return "cell in row {} and column {} covered".format(*(i + 1 for i in variation.cell))
    return ", then ".join(f"{part['kind']} at severity {part['severity']:g}" for part in data)
