"""Subspaces of what another task's run differs in, found between arms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vlascope.directions import Subspace, save_directions
from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.sections import Table
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope.subspaces import (
    difference_subspace,
    differences,
    random_subspace,
    refuse_dimension,
    separability,
    share_held,
)

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = ["DifferenceSubspaces"]

Floats = npt.NDArray[np.float64]

_RANDOM = 20
"""Random subspaces whose share is set beside the found one's."""


class DifferenceSubspaces(Analysis):
    """PCA of source minus target at one hook point, for each of some dimensions.

    Found on half of the episode pairs and judged on the other half, so that the share it holds is
    not that of what it was fitted to.

    Attributes:
        pairing: source task by target task.
        at: the hook point.
        dimensions: of the subspaces; the edits are keyed `k1`, `k4`, ...
        tokens: globs of token spans; every token where left out.
    """

    kind: ClassVar[str] = "difference_subspaces"

    pairing: str
    at: str
    dimensions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    tokens: tuple[str, ...] | None = None

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """The hook point, in every arm read."""
        return dict.fromkeys(self.arms, (self.at,))

    def check(self, info: AdapterInfo) -> None:
        """Every dimension is above 0 and below the width."""
        point = HookPoint.parse(self.at)
        width = info.pathway(point.pathway).width_at(point.site, point.layer)
        if width is None:
            return
        for k in self.dimensions:
            refuse_dimension(f"{self.at} k={k}", k, width)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Find them, save them, and set each beside random ones."""
        point = HookPoint.parse(self.at)
        self.check(context.adapter.info)
        pairs = self._pairs(context)
        store = context.store()

        def blocks(part: dict[str, str]) -> Iterator[Floats]:
            return differences(store, store, point, part, tokens=self.tokens)

        episodes = list(pairs)
        fit = {e: pairs[e] for e in episodes[::2]}
        held_out = {e: pairs[e] for e in episodes[1::2]}
        rows: list[dict[str, float]] = []
        found: list[Subspace] = []
        for k in self.dimensions:
            name = f"k{k}"
            subspace = difference_subspace(
                name, self.at, blocks(fit), dimension=k,
                about=f"{k} leading directions of source minus target",
            )  # fmt: skip
            found.append(subspace)
            other = difference_subspace(name, self.at, blocks(held_out), dimension=k)
            random = [
                share_held(
                    random_subspace("", self.at, k, subspace.width, seed=s), blocks(held_out)
                )
                for s in range(_RANDOM)
            ]
            halves = separability(subspace, other)
            rows.append(
                {
                    "k": k,
                    "fitted": share_held(subspace, blocks(fit)),
                    "held_out": share_held(subspace, blocks(held_out)),
                    "random": sum(random) / len(random),
                    "random_max": max(random),
                    "halves_angle": max(halves.angles),
                    "halves_score": halves.score,
                    "halves_p": halves.p_aligned,
                }
            )
        provenance = {
            "policy": context.adapter.info.checkpoint_hash,
            "study": context.study.name,
            "analysis": self.model_dump(mode="json"),
        }
        path = save_directions(context.folder / "subspaces.safetensors", found, provenance)
        return AnalysisResult(
            edits={
                s.name: (
                    {
                        "kind": "inject_subspace",
                        "at": [self.at],
                        "basis": {"file": str(path), "name": s.name},
                    },
                )
                for s in found
            },
            sentences=_sentences(self.at, rows, len(held_out)),
            blocks=(_table(self.at, rows, len(fit), len(held_out)),),
            data={"at": self.at, "rows": rows},
        )

    def _pairs(self, context: AnalysisContext) -> dict[str, str]:
        """Source episode by target episode of the first arm, where both were played."""
        arm = self.arms[0]
        pairing = context.study.pairings[self.pairing]
        played = {r.plan.episode for r in context.records[arm]}
        cells = [(r.plan.task, r.plan.seed) for r in context.records[arm]]
        pairs = {
            f"{arm}/{task}/{seed}": f"{arm}/{pairing[task]}/{seed}"
            for task, seed in sorted(cells, key=lambda c: (c[1], c[0]))
            if task in pairing and f"{arm}/{pairing[task]}/{seed}" in played
        }
        if len(pairs) < 2:
            raise UnusableActivations(
                f"subspaces of {self.at} need two pairs of finished episodes of {arm}, one to find "
                f"them in and one to judge them on; there are {len(pairs)}"
            )
        return pairs


def _sentences(at: str, rows: list[dict[str, float]], n: int) -> tuple[str, ...]:
    return tuple(
        f"{row['k']} dimensions of {at} hold {100 * row['held_out']:.0f}% of the squared "
        f"difference between source and target in {n} held-out pairs of episodes; random "
        f"subspaces of equal dimension hold {100 * row['random']:.1f}% "
        f"(at most {100 * row['random_max']:.1f}% of {_RANDOM})."
        for row in rows
    )


def _table(at: str, rows: list[dict[str, float]], fitted: int, held_out: int) -> Table:
    return Table(
        title=f"Subspaces of source minus target at {at}",
        caption=(
            f"PCA, not centred, of {fitted} pairs of episodes; shares of the squared difference "
            f"there and in {held_out} other pairs, beside {_RANDOM} random subspaces; largest "
            "principal angle between the subspaces of the two halves, and how rarely random "
            "subspaces lie as close."
        ),
        columns=(
            "dimension", "share, fitted", "share, held out", "random", "angle of halves (°)",
            "p (as close by chance)",
        ),
        rows=tuple(
            (
                f"k = {row['k']}", row["fitted"], row["held_out"], row["random"],
                row["halves_angle"], row["halves_p"],
            )
            for row in rows
        ),
    )  # fmt: skip
