"""Where ManiSkill keeps the twins' meshes and pictures, and which of them are missing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from vlascope.errors import FileMissing
from vlascope_benchmarks.simpler.tasks import Twin

__all__ = ["VARIABLE", "asset_folder", "missing", "require_assets"]

VARIABLE = "MS_ASSET_DIR"
"""The environment variable that says where ManiSkill's assets are; read when it is imported."""

_DATA = Path("tasks/bridge_v2_real2sim_dataset")
_ROBOT = Path("robots/widowx/wx250s.urdf")
_SHAPES = ("textured.obj", "textured.dae", "textured.glb")
_HOW = (
    "get them with ManiSkill's own downloader (it needs the network once):\n"
    "  python -m mani_skill.utils.download_asset bridge_v2_real2sim -y\n"
    "  python -m mani_skill.utils.download_asset widowx250s -y\n"
    f"or set {VARIABLE} to a folder whose `data` holds them, before the first import of mani_skill"
)


def asset_folder() -> Path:
    """The folder that ManiSkill reads from, as it read it when it was imported, if it was."""
    imported = sys.modules.get("mani_skill")
    if imported is not None and hasattr(imported, "ASSET_DIR"):
        return Path(imported.ASSET_DIR)
    return Path(os.environ.get(VARIABLE) or Path.home() / ".maniskill") / "data"


def missing(twin: Twin, folder: Path) -> tuple[str, ...]:
    """Files that the twin needs and `folder` does not have, as paths below it."""
    return tuple(
        " or ".join(str(choice) for choice in choices)
        for choices in _needed(twin, folder)
        if not any((folder / choice).is_file() for choice in choices)
    )


def require_assets(twin: Twin) -> None:
    """Refuse to build a twin whose files are not all there.

    Raises:
        FileMissing: naming the files, where they were looked for, and how to get them.
    """
    folder = asset_folder()
    absent = missing(twin, folder)
    if not absent:
        return
    more = [f"... and {len(absent) - 6} more"] if len(absent) > 6 else []
    shown = "\n  ".join([*absent[:6], *more])
    state = f"set to {os.environ[VARIABLE]!r}" if os.environ.get(VARIABLE) else "not set"
    raise FileMissing(
        f"{twin.task.name} needs {len(absent)} file(s) that are not in {folder} ({VARIABLE} is "
        f"{state}):\n  {shown}\n{_HOW}"
    )


def _needed(twin: Twin, folder: Path) -> Iterator[tuple[Path, ...]]:
    """Each file as the paths at which it may be; the robot's meshes once its URDF is there."""
    yield (_ROBOT,)
    if (folder / _ROBOT).is_file():
        named = re.findall(r'<mesh[^>]*filename="([^"]+)"', (folder / _ROBOT).read_text("utf-8"))
        for mesh in dict.fromkeys(named):
            if "://" not in mesh:
                yield (_ROBOT.parent / mesh,)
    stage, backdrop = ("v2", "bridge_sink") if twin.sink else ("v1", "bridge_real_eval_1")
    yield (_DATA / "stages" / f"bridge_table_1_{stage}.glb",)
    yield (_DATA / "real_inpainting" / f"{backdrop}.png",)
    yield (_DATA / "custom" / twin.models_json,)
    for model in (twin.source, twin.target, *(("sink",) if twin.sink else ())):
        home = _DATA / "custom" / "models" / model
        yield (home / "collision.obj",)
        yield tuple(home / shape for shape in _SHAPES)
