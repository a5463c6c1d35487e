"""What is measured of an episode, alone or beside its paired baseline and its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vlascope.study import measures
from vlascope.study.measures import behaviour, override_verdict
from vlascope.study.quantity import Bounds
from vlascope.study.trio import Trio, cosine

__all__ = ["METRICS", "Metric", "Trio", "behaviour", "cosine", "override_verdict"]


@dataclass(frozen=True)
class Metric:
    """A number per episode; None where it does not apply or was not measured.

    Attributes:
        label: as tables head it.
        unit: `share` for yes/no, else a physical unit or `1`.
        binary: whether values are 0 or 1.
        needs: what it cannot do without.
        meaning: one sentence.
        bounds: the least and the most that it can be, where its unit does not say it.
    """

    label: str
    unit: str
    binary: bool
    needs: str
    meaning: str
    measure: Callable[[Trio], float | None]
    bounds: Bounds | None = None

    @property
    def within(self) -> Bounds:
        """The least and the most that it can be; None where nothing bounds it."""
        if self.bounds is not None:
            return self.bounds
        return (0.0, 1.0) if self.unit == "share" else (None, None)


METRICS: Final[Mapping[str, Metric]] = {
    "success": Metric(
        "success",
        "share",
        True,
        "",
        "The benchmark's verdict on the episode's own task.",
        measures.success,
    ),
    "own_goal": Metric(
        "own goal reached",
        "share",
        True,
        "",
        "The task's own condition came true at some step.",
        measures.own_goal,
    ),
    "source_goal": Metric(
        "source goal reached",
        "share",
        True,
        "source",
        "The source task's condition came true at some step of this episode.",
        measures.source_goal,
    ),
    "displacement": Metric(
        "mean end-effector displacement",
        "m",
        False,
        "baseline",
        "Distance of the end effector from the paired baseline, mean over common steps.",
        measures.mean_displacement,
        (0.0, None),
    ),
    "final_displacement": Metric(
        "final end-effector displacement",
        "m",
        False,
        "baseline",
        "Distance of the end effector from the paired baseline at the last common step.",
        measures.final_displacement,
        (0.0, None),
    ),
    "action_cosine": Metric(
        "action cosine (flattened)",
        "1",
        False,
        "baseline",
        "Cosine to the paired baseline's actions, flattened over common steps.",
        measures.action_cosine,
        (-1.0, 1.0),
    ),
    "action_cosine_mean": Metric(
        "action cosine (time-mean)",
        "1",
        False,
        "baseline",
        "Cosine to the paired baseline's action at each common step, mean over steps.",
        measures.action_cosine_mean,
        (-1.0, 1.0),
    ),
    "velocity_cosine": Metric(
        "end-effector-velocity cosine",
        "1",
        False,
        "baseline",
        "Cosine to the paired baseline's end-effector velocities, flattened over common steps.",
        measures.velocity_cosine,
        (-1.0, 1.0),
    ),
    "override": Metric(
        "override (path nearer to source)",
        "share",
        True,
        "source",
        "The path is nearer, by mean distance, to the source task's than to the own baseline's.",
        measures.override,
    ),
    "override_margin": Metric(
        "override (velocity cosine, margin)",
        "share",
        True,
        "source",
        "Velocities are more like the source task's than the own baseline's, beyond the margin.",
        measures.override_margin,
    ),
    "override_strict": Metric(
        "override (velocity cosine, no margin)",
        "share",
        True,
        "source",
        "Velocities are more like the source task's than the own baseline's, by however little.",
        measures.override_strict,
    ),
    "override_ambiguous": Metric(
        "neither source nor destination (velocity cosine, margin)",
        "share",
        True,
        "source",
        "Velocities are as like the source task's as the own baseline's, within the margin.",
        measures.override_ambiguous,
    ),
    "source_alignment": Metric(
        "alignment to source (velocity cosine)",
        "1",
        False,
        "source",
        "Cosine of end-effector velocities to the source's, flattened over common steps.",
        measures.source_alignment,
        (-1.0, 1.0),
    ),
    "source_alignment_rank": Metric(
        "alignment to source, rank among unrelated",
        "1",
        False,
        "source",
        "Share of unrelated baseline episodes (of neither this task nor the source's) to which the "
        "velocities are less alike than to the source's: 0.5 is chance.",
        measures.source_alignment_rank,
        (0.0, 1.0),
    ),
    "object_moved": Metric(
        "object moved",
        "m",
        False,
        "objects",
        "Distance between first and last position of the object that moved most.",
        measures.object_moved,
        (0.0, None),
    ),
    "objects_disturbed": Metric(
        "an object moved (> 1 cm)",
        "share",
        True,
        "objects",
        "Some object ended more than 1 cm from where it began.",
        measures.objects_disturbed,
    ),
    "object_displacement": Metric(
        "final object displacement",
        "m",
        False,
        "baseline",
        "Distance between an object's final positions here and in the paired baseline, the "
        "largest over objects.",
        measures.object_displacement,
        (0.0, None),
    ),
    "hand_speed": Metric(
        "hand speed",
        "mm/step",
        False,
        "",
        "Path length of the end effector per environment step, mean over the episode.",
        measures.hand_speed,
        (0.0, None),
    ),
    "hand_height": Metric(
        "hand height",
        "m",
        False,
        "",
        "Height of the end effector in the world frame, mean over the episode.",
        measures.hand_height,
    ),
}
"""Every metric a finding may name."""
