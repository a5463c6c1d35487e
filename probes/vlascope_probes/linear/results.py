"""What probing found, as it is written to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlascope import __version__
from vlascope.errors import CorruptFile, FileMissing
from vlascope.statistics import Estimate
from vlascope_probes.linear.options import ProbeOptions

__all__ = ["SCHEMA", "ProbeMap", "ProbeScore", "read_map"]

SCHEMA: Final = "vlascope.probes/1"


class ProbeScore(BaseModel):
    """One target read off one hook point.

    Attributes:
        point, target: where and what.
        metric: `R²` (0 is the training mean) or `balanced accuracy` (chance is 1/classes).
        score: on episodes the probe was not fitted on; n counts episodes.
        rows: activations.
        control: mean score of the control tasks; `control_best` the best of `controls` of them.
        selectivity: score − control (arXiv 1909.03368).
        p: (1 + controls as good) / (1 + controls).
        raw_state: score of the same probe on what the policy is told of the robot (for `success`
            also on the step count) in place of activations; None where there is no state.
        held_out_tasks: score on tasks the probe was not fitted on; None where that means nothing.
        auc: for two labels, area under the ROC curve, mean over folds.
        chance: what guessing scores.
        flags: what to be wary of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: str
    target: str
    metric: Literal["R²", "balanced accuracy"]
    score: Estimate
    rows: int
    control: float
    control_best: float
    controls: int
    selectivity: float
    p: float
    raw_state: float | None = None
    held_out_tasks: float | None = None
    auc: float | None = None
    chance: float = 0.0
    flags: tuple[str, ...] = ()


class ProbeMap(BaseModel):
    """Every target at every point of one recording.

    Attributes:
        policy, recording: where the activations come from.
        episodes: how many there were.
        scores: by point, then target.
        skipped: targets that a glob named and that cannot be probed, with the reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.probes/1"] = SCHEMA
    code_version: str = __version__
    policy: dict[str, str] = Field(default_factory=dict)
    recording: str = ""
    episodes: int
    options: ProbeOptions
    scores: tuple[ProbeScore, ...]
    skipped: dict[str, str] = Field(default_factory=dict)

    @property
    def points(self) -> list[str]:
        """In the order probed."""
        return list(dict.fromkeys(s.point for s in self.scores))

    @property
    def targets(self) -> list[str]:
        """In the order probed."""
        return list(dict.fromkeys(s.target for s in self.scores))

    def at(self, point: str, target: str) -> ProbeScore | None:
        """One cell of the map."""
        return next((s for s in self.scores if (s.point, s.target) == (point, target)), None)

    def flagged(self) -> list[str]:
        """Every flag with its place, each once."""
        told = (f"{s.target} at {s.point}: {flag}" for s in self.scores for flag in s.flags)
        return list(dict.fromkeys(told))

    def table(self) -> list[dict[str, Any]]:
        """Plain rows, for JSON and for people."""
        return [
            {
                "point": s.point,
                "target": s.target,
                "metric": s.metric,
                "score": s.score.value,
                "low": s.score.low,
                "high": s.score.high,
                "episodes": s.score.n,
                "control": s.control,
                "selectivity": s.selectivity,
                "p": s.p,
                "raw_state": s.raw_state,
                "held_out_tasks": s.held_out_tasks,
                "auc": s.auc,
                "flags": list(s.flags),
            }
            for s in self.scores
        ]


def read_map(path: str | Path) -> ProbeMap:
    """Read what `vlascope probes fit` wrote.

    Raises:
        FileMissing: there is no such file.
        CorruptFile: it is of another kind or version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileMissing(f"{path} is no file; give the probes.json of `vlascope probes fit`")
    try:
        return ProbeMap.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptFile(
            f"{path} is no {SCHEMA} file: {error.errors()[0]['msg']}; fit the probes again"
        ) from error
