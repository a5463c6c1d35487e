"""Measure this benchmark here: the figures and the picture of its documentation page.

Run `python -m vlascope_benchmarks.libero.survey experts|speed|picture --help`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np

from vlascope.benchmark import Task
from vlascope_benchmarks.libero.env import Libero
from vlascope_benchmarks.mujoco_rendering import RenderMode

__all__ = ["experts", "picture", "speed"]

_TASK = "libero_goal/put_the_bowl_on_the_plate"


def experts(suite: str, seeds: int) -> None:
    """Print how often, and after how many steps, the scripted expert succeeds."""
    env = Libero(keep=1)
    for task in Libero.tasks(suite):
        took = [steps for seed in range(seeds) if (steps := _solve(env, task, seed)) is not None]
        typical = f"median {median(took):.0f} steps" if took else ""
        print(f"{task.name} {len(took)}/{seeds}  {typical}", flush=True)
    env.close()


def speed(repeats: int) -> None:
    """Print processor time per start, step and pair of pictures."""
    for mode in get_args(RenderMode):
        env = Libero(render=mode)
        task = env.task(_TASK)
        loading = _milliseconds(lambda: env.reset(_TASK, seed=0), 1)  # noqa: B023
        start = _milliseconds(lambda: env.start(task, seed=1), 5)  # noqa: B023
        step = _milliseconds(lambda: env.step(np.zeros(7, np.float32)), repeats)  # noqa: B023
        drawn = _milliseconds(env.sense, repeats)
        env.close()
        print(
            f"{mode}: load and first look {loading:.0f}, start {start:.0f}, step {step:.1f}, "
            f"two pictures {drawn:.0f} (processor ms)"
        )


def picture(path: Path) -> None:
    """Save what both cameras see, with and without shadows."""
    import imageio.v3

    rows = []
    for mode in get_args(RenderMode):
        env = Libero(render=mode)
        rows.append(np.hstack(list(env.reset(_TASK, seed=0).images.values())))
        env.close()
    imageio.v3.imwrite(path, np.hstack(rows))


def _solve(env: Libero, task: Task, seed: int) -> int | None:
    env.start(task, seed=seed)
    for steps in range(1, env.info.max_steps + 1):
        if env.step(env.expert()).success:
            return steps
    return None


def _milliseconds(act: Callable[[], object], repeats: int) -> float:
    before = time.process_time()
    for _ in range(repeats):
        act()
    return 1e3 * (time.process_time() - before) / repeats


def main(arguments: Iterable[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the LIBERO benchmark here.")
    what = parser.add_subparsers(dest="what", required=True)
    to_experts = what.add_parser("experts", help="success of the scripted expert")
    to_experts.add_argument("--suite", default="libero_goal", choices=sorted(Libero.suites()))
    to_experts.add_argument("--seeds", type=int, default=3)
    to_speed = what.add_parser("speed", help="processor time per start, step and picture")
    to_speed.add_argument("--repeats", type=int, default=20)
    to_picture = what.add_parser("picture", help="save what the cameras see")
    to_picture.add_argument("path", type=Path)
    options = vars(parser.parse_args(None if arguments is None else list(arguments)))
    commands: dict[str, Callable[..., None]]
    commands = {"experts": experts, "speed": speed, "picture": picture}
    commands[options.pop("what")](**options)


if __name__ == "__main__":
    main()
