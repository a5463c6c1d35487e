"""Where the end effector went, seen from above."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from vlascope.study.controls import is_causal
from vlascope.study.measuring import Measuring
from vlascope.study.played import Played

__all__ = ["PathPanel", "PathTrace", "path_panels"]

MOST_POINTS = 120


class PathTrace(BaseModel):
    """One path: x and y of the end effector in metres.

    Attributes:
        arm: whose; `source` for the source task's own episode.
        style: `own`, `source`, `arm` or `control`.
    """

    model_config = ConfigDict(frozen=True)

    arm: str
    style: str
    success: bool | None
    x: tuple[float, ...]
    y: tuple[float, ...]


class PathPanel(BaseModel):
    """The paths of one task and seed under several arms."""

    model_config = ConfigDict(frozen=True)

    policy: str
    task: str
    seed: int
    source: str | None
    traces: tuple[PathTrace, ...]


def path_panels(measuring: Measuring) -> tuple[PathPanel, ...]:
    """A panel per chosen `task/seed`: baseline, source, and the arms set beside them."""
    options = measuring.design.study.report
    chosen = options.trajectories if options.trajectories is not None else options.strips
    panels = []
    for policy in measuring.design.study.policies:
        for pair in chosen:
            task, _, seed = pair.rpartition("/")
            panels.append(_panel(measuring, policy, task, int(seed)))
    return tuple(p for p in panels if len(p.traces) > 1)


def _panel(measuring: Measuring, policy: str, task: str, seed: int) -> PathPanel:
    cell = (task, seed)
    baseline = measuring.design.study.baseline_arm
    traces = [_trace(measuring.episodes.ok(policy, baseline, cell), baseline, "own")]
    source: Played | None = None
    for group in measuring.design.groups:
        if group.arm == baseline or group.role == "source" or _is_identity(group.definition):
            continue
        reference = group.sources.get(cell)
        if source is None and reference is not None and reference.task != task:
            source = measuring.source(policy, group.arm, cell)
        causal = is_causal(group.definition)
        style = "arm" if causal else "control"
        episode = measuring.episodes.ok(policy, group.arm, cell)
        traces.append(_trace(episode, group.arm, style))
    told = None
    if source is not None:
        told = source.record.plan.task
        traces.insert(1, _trace(source, "source", "source"))
    found = tuple(t for t in traces if t is not None)
    return PathPanel(policy=policy, task=task, seed=seed, source=told, traces=found)


def _is_identity(definition: object) -> bool:
    kinds = {e.get("kind") for e in getattr(definition, "interventions", ())}
    return kinds == {"identity"}


def _trace(episode: Played | None, arm: str, style: str) -> PathTrace | None:
    if episode is None or episode.hand is None:
        return None
    keep = np.unique(np.linspace(0, len(episode.hand) - 1, MOST_POINTS).round().astype(int))
    path = episode.hand[keep].round(4)
    return PathTrace(
        arm=arm,
        style=style,
        success=episode.record.success,
        x=tuple(float(v) for v in path[:, 0]),
        y=tuple(float(v) for v in path[:, 1]),
    )
