"""Measure this benchmark here: the figures and the picture of its documentation page.

Run `python -m vlascope_benchmarks.aloha.survey experts|speed|picture --help`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np

from vlascope.types import Image
from vlascope_benchmarks.aloha.env import Aloha
from vlascope_benchmarks.mujoco_rendering import RenderMode

__all__ = ["experts", "picture", "speed"]

_SHOWN = {"transfer-cube": (0, 160, 300), "insertion": (0, 225, 340)}
"""Steps of an expert episode that the picture shows."""


def experts(first_seed: int, seeds: int) -> None:
    """Print how often, and after how many steps, the scripted experts succeed."""
    env = Aloha()
    for task in env.tasks():
        before, took = time.process_time(), []
        for seed in range(first_seed, first_seed + seeds):
            env.start(task, seed=seed)
            for step in range(1, env.info.max_steps + 1):
                if env.step(env.expert()).success:
                    took.append(step)
                    break
        typical = f"median {median(took):.0f} steps" if took else ""
        cost = (time.process_time() - before) / seeds
        print(f"{task.name:14} {len(took)}/{seeds}  {typical}  {cost:.2f} processor s an episode")
    env.close()


def speed(repeats: int) -> None:
    """Print processor time per reset, step, plan and picture, and of a step of the package."""
    for task in Aloha.tasks():
        env = Aloha()
        env.start(task, seed=0)
        env.expert()
        start = _milliseconds(lambda: env.start(task, seed=1), repeats)  # noqa: B023
        plan = _milliseconds(lambda: env.expert(), 1)  # noqa: B023
        hold = env.expert()
        step = _milliseconds(lambda: env.step(hold), repeats)  # noqa: B023
        env.close()
        print(f"{task.name}: reset {start:.1f}, step {step:.2f}, plan {plan:.0f} (processor ms)")
    for height, width in ((480, 640), (240, 320), (96, 96)):
        drawn = {mode: _picture_time(mode, height, width, repeats) for mode in get_args(RenderMode)}
        times = ", ".join(f"{mode} {ms:.1f}" for mode, ms in drawn.items())
        print(f"picture {height}x{width}: {times} (processor ms)")
    print(f"gym-aloha's own step: {_package_step(repeats):.0f} (processor ms)")


def picture(path: Path) -> None:
    """Save both tasks as the policy sees them, at three moments each."""
    import imageio.v3

    imageio.v3.imwrite(path, np.vstack([_strip(*shown) for shown in _SHOWN.items()]))


def _strip(task: str, steps: tuple[int, ...]) -> Image:
    env = Aloha(height=240, width=320)
    env.start(env.task(task), seed=4)
    tiles = []
    for step in range(max(steps) + 1):
        if step in steps:
            tiles.append(env.frame())
        env.step(env.expert())
    env.close()
    return np.hstack(tiles)


def _package_step(repeats: int) -> float:
    """Processor milliseconds of a step of gym-aloha's environment, which draws three pictures."""
    import gym_aloha  # noqa: F401
    import gymnasium

    env = gymnasium.make("gym_aloha/AlohaTransferCube-v0", disable_env_checker=True)
    env.reset(seed=0)
    hold = np.array([0, -0.96, 1.16, 0, -0.3, 0, 0.1] * 2, np.float32)
    took = _milliseconds(lambda: env.step(hold), min(repeats, 20))
    env.close()
    return took


def _picture_time(mode: RenderMode, height: int, width: int, repeats: int) -> float:
    env = Aloha(height=height, width=width, render=mode)
    env.reset("transfer-cube", seed=0)
    took = _milliseconds(env.observe, min(repeats, 20))
    env.close()
    return took


def _milliseconds(act: Callable[[], object], repeats: int) -> float:
    before = time.process_time()
    for _ in range(repeats):
        act()
    return 1000 * (time.process_time() - before) / repeats


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    played = commands.add_parser("experts", help=experts.__doc__)
    played.add_argument("--first-seed", type=int, default=1000)
    played.add_argument("--seeds", type=int, default=50)
    timed = commands.add_parser("speed", help=speed.__doc__)
    timed.add_argument("--repeats", type=int, default=100)
    drawn = commands.add_parser("picture", help=picture.__doc__)
    drawn.add_argument("path", type=Path)
    given = parser.parse_args()
    if given.command == "experts":
        experts(given.first_seed, given.seeds)
    elif given.command == "speed":
        speed(given.repeats)
    else:
        picture(given.path)


if __name__ == "__main__":
    main()
