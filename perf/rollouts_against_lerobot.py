"""Episodes per minute: vlascope's rollouts against lerobot's own evaluation loop.

Same policy (the bundled TinyVLA), same MetaWorld tasks, same seeds, same episode limit, same
machine, alternating. lerobot's loop is `lerobot.scripts.lerobot_eval.rollout` on its MetaWorld
environments in an AsyncVectorEnv with as many processes as there are cores, which is what
`lerobot-eval` does by default. It renders at every step, with shadows, as lerobot does; vlascope
is timed both with `render="full"` (the same picture) and with `render="fast"` (its default).

    uv run --frozen --extra metaworld --group perf python perf/rollouts_against_lerobot.py

Prints ratios (vlascope / lerobot), and the same as JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vlascope import plugins
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.types import Observation
from vlascope_benchmarks.mujoco_rendering import choose_backend

TASKS = ("button-press-topdown", "door-open", "faucet-open", "window-close")
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Timing:
    """One timed batch of episodes."""

    seconds: float
    episodes: int
    steps: int
    cpu: float = float("nan")

    @property
    def per_minute(self) -> float:
        return 60 * self.episodes / self.seconds


def cpu_seconds() -> float:
    """CPU time so far of this process and of every process below it that is still there."""
    import psutil

    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


class PeerPolicy(torch.nn.Module):
    """The adapter behind lerobot's `select_action`: one action per environment and call."""

    def __init__(self, adapter) -> None:
        super().__init__()
        self.adapter = adapter
        self.camera = next(iter(adapter.info.cameras))
        self.state = next(iter(adapter.info.state))
        self.planned: list[np.ndarray] = []

    def reset(self) -> None:
        self.planned = []

    def select_action(self, batch) -> torch.Tensor:
        if not self.planned:
            pictures = (batch["observation.image"] * 255).round().to(torch.uint8)
            pictures = pictures.permute(0, 2, 3, 1)[:, ::5, ::5].numpy()  # 480 to 96 px
            states = batch["observation.state"].numpy().astype(np.float32)
            rows = [
                Observation(text, {self.camera: picture}, {self.state: state})
                for text, picture, state in zip(batch["task"], pictures, states, strict=True)
            ]
            chunk = self.adapter.infer(rows).actions
            self.planned = list(chunk[:, : self.adapter.info.executed_steps].swapaxes(0, 1))
        return torch.from_numpy(np.clip(self.planned.pop(0), -1, 1))


def peer(adapter, tasks, seeds: list[int], max_steps: int) -> Timing:
    """lerobot's loop over every task, `CORES` environments at a time."""
    import gymnasium
    from lerobot.envs import metaworld as peer_env
    from lerobot.scripts.lerobot_eval import rollout

    class Limited(peer_env.MetaworldEnv):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self._max_episode_steps = max_steps

    policy, episodes, steps = PeerPolicy(adapter), 0, 0
    kwargs = {"obs_type": "pixels_agent_pos"}  # lerobot renders 480 px
    started = time.perf_counter()
    for task in tasks:
        factories = [lambda t=task: Limited(f"{t}-v3", **kwargs) for _ in range(CORES)]
        env = gymnasium.vector.AsyncVectorEnv(
            factories,
            context="forkserver",
            autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
        )
        for first in range(0, len(seeds), CORES):
            result = rollout(
                env, policy, _same, _same, _same, _same, seeds=seeds[first : first + CORES]
            )
            episodes += CORES
            steps += int((~result["done"]).sum()) + CORES
        env.close()
    return Timing(time.perf_counter() - started, episodes, steps)


def ours(adapter, tasks, seeds: list[int], max_steps: int, render: str) -> Timing:
    """`run_episodes` with one worker per core."""
    plans = [
        EpisodePlan(arm="timing", task=task, seed=seed, max_steps=max_steps)
        for task in tasks
        for seed in seeds
    ]
    spec = BenchmarkSpec(name="metaworld", options={"render": render})
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        records = run_episodes(adapter, spec, plans, Path(folder), workers=CORES, progress=False)
        seconds = time.perf_counter() - started
    if any(r.status != "ok" for r in records):
        raise SystemExit(f"episodes failed: {[r.error for r in records if r.error]}")
    return Timing(seconds, len(records), sum(r.steps for r in records))


def _same(value):
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=4, help="per task and repetition")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--max-steps", type=int, default=150)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    choose_backend()  # lerobot leaves this to the user
    torch.set_num_threads(1)
    adapter = plugins.adapter_class("tinyvla").from_pretrained("bundled")
    seeds = list(range(5000, 5000 + args.episodes))
    runs: dict[str, list[Timing]] = {"lerobot": [], "full": [], "fast": []}
    full = with_render(adapter, "full")
    for _ in range(args.repeat):
        runs["lerobot"].append(peer(adapter, TASKS, seeds, args.max_steps))
        runs["full"].append(ours(full, TASKS, seeds, args.max_steps, "full"))
        runs["fast"].append(ours(adapter, TASKS, seeds, args.max_steps, "fast"))
    result = {"tasks": TASKS, "cores": CORES, "max_steps": args.max_steps}
    for name in ("full", "fast"):
        pairs = list(zip(runs[name], runs["lerobot"], strict=True))
        episodes = [o.per_minute / p.per_minute for o, p in pairs]
        steps = [(o.steps / o.seconds) / (p.steps / p.seconds) for o, p in pairs]
        result[name] = {"episodes_ratio": episodes, "steps_ratio": steps}
        print(
            f"render={name}: {statistics.median(episodes):.1f}x lerobot's episodes per minute "
            f"({min(episodes):.1f} to {max(episodes):.1f}), "
            f"{statistics.median(steps):.1f}x its environment steps per second"
        )
    for name, timings in runs.items():
        print(f"{name}: {statistics.median(t.per_minute for t in timings):.1f} episodes/min")
        result.setdefault("episodes_per_minute", {})[name] = [t.per_minute for t in timings]
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


def with_render(adapter, render: str):
    """A second copy of the policy that accepts the other rendering: a timing, not a result."""
    from dataclasses import replace

    other = type(adapter).from_pretrained("bundled")
    cameras = {name: replace(spec, render=render) for name, spec in other.info.cameras.items()}
    other.info = replace(other.info, cameras=cameras)
    return other


if __name__ == "__main__":
    main()
