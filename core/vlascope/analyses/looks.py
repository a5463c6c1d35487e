"""What the cameras show when an episode begins, for maps to be drawn on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from vlascope import plugins
from vlascope.benchmark import BenchmarkEnv
from vlascope.perturbations import parse_perturbations
from vlascope.perturbations.sheet import contact_sheet, png_uri
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope.types import Image

__all__ = ["FirstLooks"]


class FirstLooks(Analysis):
    """Take the first picture of the first seed of some tasks, from a camera the policy reads.

    `data` holds `camera`, `looks` (PNG data URI by task) and `sheet`: the first task's picture
    under each of `tiles`.

    Attributes:
        tasks: at most this many, in the study's order.
        cameras: globs; the first camera they name is shown.
        tiles: perturbations, `{kind: ...}` each, by the name under their tile.
    """

    kind: ClassVar[str] = "first_looks"

    tasks: Annotated[int, Field(ge=1)] = 4
    cameras: tuple[str, ...] = ("*",)
    tiles: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Begin an episode of each task and look."""
        from vlascope.study.tasks import matching

        study = context.study
        names = matching(study.benchmark.name, study.tasks)[: self.tasks]
        env: BenchmarkEnv = plugins.benchmark_class(study.benchmark.name)(**study.benchmark.options)
        try:
            seen = {name: _look(env, name, study.seeds[0]) for name in names}
        finally:
            env.close()
        camera = self._camera(context.adapter.info.cameras)
        tiles = {label: parse_perturbations(data) for label, data in self.tiles.items()}
        first = {c: p for c, p in seen[names[0]].items() if c in context.adapter.info.cameras}
        sheet = contact_sheet(first, tiles, camera=camera)
        looks = {name: png_uri(pictures[camera]) for name, pictures in seen.items()}
        data = {"camera": camera, "looks": looks, "sheet": png_uri(sheet)}
        return AnalysisResult(data=data)

    def _camera(self, read: Any) -> str:
        from fnmatch import fnmatchcase

        from vlascope.errors import unknown_name

        for camera in read:
            if any(fnmatchcase(camera, glob) for glob in self.cameras):
                return str(camera)
        raise unknown_name("camera", ", ".join(self.cameras), read)


def _look(env: BenchmarkEnv, task: str, seed: int) -> dict[str, Image]:
    return dict(env.reset(task, seed=seed).images)
