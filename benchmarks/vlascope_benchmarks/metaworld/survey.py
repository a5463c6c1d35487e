"""Measure this benchmark here: the figures and the picture of its documentation page.

Run `python -m vlascope_benchmarks.metaworld.survey experts|speed|picture --help`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np

from vlascope.benchmark import Task
from vlascope.types import Image
from vlascope_benchmarks.metaworld.env import MetaWorld
from vlascope_benchmarks.mujoco_rendering import RenderMode

__all__ = ["experts", "picture", "speed"]

_SHOWN = ("multi/open-drawer", "faucet-open", "coffee-pull", "drawer-close", "push", "door-close")


def experts(suite: str, seeds: int) -> None:
    """Print how often, and after how many steps, the scripted experts succeed."""
    env = MetaWorld(keep=2)
    for task in MetaWorld.tasks(suite):
        took = [steps for seed in range(seeds) if (steps := _solve(env, task, seed)) is not None]
        typical = f"median {median(took):.0f} steps" if took else ""
        print(f"{task.name:28} {len(took)}/{seeds}  {typical}", flush=True)
    env.close()


def speed(repeats: int) -> None:
    """Print processor time per reset, step and picture."""
    for name in ("multi/open-drawer", "faucet-open", "window-open"):
        env = MetaWorld()
        env.reset(name, seed=0)
        task = env.task(name)
        action = np.zeros(4, np.float32)
        start = _milliseconds(lambda: env.start(task, seed=1), 5)  # noqa: B023
        step = _milliseconds(lambda: env.step(action), repeats)  # noqa: B023
        drawn = {mode: _picture_time(name, mode, repeats) for mode in ("fast", "full")}
        env.close()
        pictures = ", ".join(f"{mode} picture {ms:.1f}" for mode, ms in drawn.items())
        print(f"{name:18} reset {start:.0f}, step at rest {step:.2f}, {pictures} (processor ms)")


def picture(path: Path) -> None:
    """Save a row of scenes as a person sees them."""
    import imageio.v3

    env = MetaWorld()
    tiles = [_first_frame(env, name) for name in _SHOWN]
    env.close()
    imageio.v3.imwrite(path, np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])]))


def _solve(env: MetaWorld, task: Task, seed: int) -> int | None:
    env.start(task, seed=seed)
    for steps in range(1, env.info.max_steps + 1):
        if env.step(env.expert()).success:
            return steps
    return None


def _picture_time(name: str, mode: RenderMode, repeats: int) -> float:
    env = MetaWorld(render=mode)
    env.reset(name, seed=0)
    took = _milliseconds(env.observe, min(repeats, 50))
    env.close()
    return took


def _milliseconds(act: Callable[[], object], repeats: int) -> float:
    before = time.process_time()
    for _ in range(repeats):
        act()
    return 1e3 * (time.process_time() - before) / repeats


def _first_frame(env: MetaWorld, name: str) -> Image:
    env.reset(name, seed=1)
    return env.frame()


def main(arguments: Iterable[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the MetaWorld benchmark here.")
    what = parser.add_subparsers(dest="what", required=True)
    to_experts = what.add_parser("experts", help="success of the scripted experts")
    to_experts.add_argument("--suite", default="multi_goal", choices=sorted(MetaWorld.suites()))
    to_experts.add_argument("--seeds", type=int, default=20)
    to_speed = what.add_parser("speed", help="processor time per reset, step and picture")
    to_speed.add_argument("--repeats", type=int, default=200)
    to_picture = what.add_parser("picture", help="save a row of scenes")
    to_picture.add_argument("path", type=Path)
    options = vars(parser.parse_args(None if arguments is None else list(arguments)))
    commands: dict[str, Callable[..., None]]
    commands = {"experts": experts, "speed": speed, "picture": picture}
    commands[options.pop("what")](**options)


if __name__ == "__main__":
    main()
