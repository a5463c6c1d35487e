"""Film strips of rollouts, side by side, as pictures inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image as Pictures
from pydantic import BaseModel, ConfigDict

from vlascope.study.measuring import Measuring
from vlascope.study.played import Played
from vlascope.types import Image

__all__ = ["StripPanel", "StripRow", "as_data_uri", "strip_panels", "strip_row"]

WIDTH = 144
"""Pixels of a picture in the page."""


class StripRow(BaseModel):
    """One episode's pictures, and the steps they show."""

    model_config = ConfigDict(frozen=True)

    arm: str
    instruction: str
    outcome: str
    steps: tuple[int, ...]
    pictures: tuple[str, ...]


class StripPanel(BaseModel):
    """The same task and seed under several arms."""

    model_config = ConfigDict(frozen=True)

    policy: str
    task: str
    seed: int
    rows: tuple[StripRow, ...]


def strip_panels(measuring: Measuring) -> tuple[StripPanel, ...]:
    """A panel per filmed `task/seed`."""
    options = measuring.design.study.report
    arms = [g.arm for g in measuring.design.groups if g.role != "source"]
    if options.strip_arms is not None:
        arms = [arm for arm in options.strip_arms if arm in arms]
    panels = []
    for policy in measuring.design.study.policies:
        for pair in options.strips:
            task, _, seed = pair.rpartition("/")
            cell = (task, int(seed))
            played = [measuring.episodes.ok(policy, arm, cell) for arm in arms]
            rows = [strip_row(e) for e in played if e is not None]
            kept = tuple(row for row in rows if row is not None)
            panels.append(StripPanel(policy=policy, task=task, seed=int(seed), rows=kept))
    return tuple(p for p in panels if p.rows)


def strip_row(episode: Played) -> StripRow | None:
    """An episode's pictures; None where it was not filmed."""
    strip = episode.strip
    if strip is None:
        return None
    record = episode.record
    done = f"succeeds at step {record.success_step}" if record.success else "does not succeed"
    return StripRow(
        arm=record.plan.arm,
        instruction=record.instruction,
        outcome=done,
        steps=tuple(int(s) for s in strip.steps),
        pictures=tuple(as_data_uri(image) for image in strip.images),
    )


def as_data_uri(image: Image) -> str:
    """A small WebP picture as a data URI."""
    picture = Pictures.fromarray(image)
    height = round(WIDTH * picture.height / picture.width)
    file = io.BytesIO()
    picture.resize((WIDTH, height), Pictures.Resampling.LANCZOS).save(file, "WEBP", quality=72)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
