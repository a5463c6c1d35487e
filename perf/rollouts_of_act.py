"""ALOHA and LIBERO: vlascope's rollouts against lerobot's own evaluation loop, played by ACT.

The sibling of `rollouts_against_lerobot.py`. One small ACT with random weights (lerobot's own
`ACTPolicy` and processors, on both sides the same object), fitted to each robot, executes
`--executed` actions of a chunk; the same tasks, seeds and initial states, the same number of steps,
as many environments on both sides, taking turns. lerobot renders at every step: ALOHA three views
of 480x640, LIBERO two of 256x256, with shadows. vlascope draws what the policy looks at when it is
asked: `full` with the same shadows, `fast` without.

    uv run --frozen --extra libero --extra libero-assets --extra aloha --group perf \
        python perf/rollouts_of_act.py

Timed is playing, with every episode's reset. What comes once a task, starting processes and loading
the scene, is not, on either side; nor does lerobot film, which `lerobot-eval` does (ten episodes,
each step rendered once more). CPU time is that of all processes; wall time counts what else runs on
the machine. Ratios say how many times less CPU time an episode takes in vlascope, and how
many times more episodes a minute there are; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lerobot_vector_env import LeRobotSide, prepare
from rollouts_against_lerobot import CORES, Timing, cpu_seconds

from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, EpisodeArrays, open_environments, run_episodes
from vlascope_adapters.robots import ROBOTS
from vlascope_benchmarks.mujoco_rendering import choose_backend

TASKS = {
    "aloha": ("transfer-cube",),
    "libero": ("libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket",),
}
VIEWS = {"aloha": {"top": "top"}, "libero": {"agentview": "image", "wrist": "image2"}}
_ARM = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.1)
ACTIONS = {"aloha": (_ARM * 2, 0.05), "libero": ((0.0,) * 7, 0.2)}
"""Mean and spread of the random policy's actions: ALOHA's arms stay where they start."""


def act(benchmark: str, executed: int, render: str):
    """The adapter of a small random ACT with the robot's cameras, state and actions."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.act.processor_act import make_act_pre_post_processors

    from vlascope_adapters.lerobot.act import ACTAdapter, _narrow_backbone
    from vlascope_adapters.lerobot.checkpoint import Processors
    from vlascope_adapters.lerobot.tiny import seeded

    robot = ROBOTS[benchmark]
    cameras = {name: replace(camera, render=render) for name, camera in robot.cameras.items()}
    robot = replace(robot, cameras=cameras)
    mean, spread = ACTIONS[benchmark]
    pictures = {f"observation.images.{v}": cameras[c] for c, v in VIEWS[benchmark].items()}
    inputs = {
        feature: PolicyFeature(FeatureType.VISUAL, (3, camera.height, camera.width))
        for feature, camera in pictures.items()
    }
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (robot.state_dim,))
    config = ACTConfig(
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (len(mean),))},
        device="cpu",
        vision_backbone="resnet_tiny",
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        n_encoder_layers=2,
        n_vae_encoder_layers=1,
        chunk_size=executed,
        n_action_steps=executed,
    )
    statistic = {feature: _normal((3, 1, 1), 0.5, 0.25) for feature in pictures}
    statistic["observation.state"] = _normal((robot.state_dim,), 0.0, 1.0)
    statistic["action"] = {"mean": torch.tensor(mean), "std": torch.full((len(mean),), spread)}
    with seeded(0), _narrow_backbone():
        policy = ACTPolicy(config)
    pipelines = Processors(*make_act_pre_post_processors(config, statistic))
    return ACTAdapter(policy, pipelines, robot, "random")


def _normal(shape, mean: float, spread: float) -> dict[str, torch.Tensor]:
    return {"mean": torch.full(shape, mean), "std": torch.full(shape, spread)}


class OurSide:
    """One task in `CORES` worker processes of one environment each."""

    def __init__(self, benchmark: str, task: str, adapter, max_steps: int, render: str) -> None:
        self.adapter, self.task, self.max_steps = adapter, task, max_steps
        self.spec = BenchmarkSpec(name=benchmark, options={"render": render})
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.pool = self.stack.enter_context(
            open_environments(self.spec, self.folder / "logs", workers=CORES, envs_per_worker=1)
        )

    def warm(self) -> None:
        """Load the task in every environment: short episodes, which are not timed."""
        self._run([1000 + i for i in range(CORES)], steps=2 * self.adapter.info.executed_steps)

    def play(self, seeds: list[int]) -> tuple[Timing, np.ndarray]:
        """Episodes of these seeds, and their actions: (episodes, steps, dim)."""
        started, cpu = time.perf_counter(), cpu_seconds()
        records = self._run(seeds, steps=self.max_steps)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
        actions = np.stack([EpisodeArrays.load(self.folder, r).actions for r in records])
        return Timing(seconds, len(records), sum(r.steps for r in records), cpu), actions

    def _run(self, seeds: list[int], steps: int):
        plans = [
            EpisodePlan(arm="timing", task=self.task, seed=seed, max_steps=steps) for seed in seeds
        ]
        records = run_episodes(
            self.adapter, self.spec, plans, self.folder, environments=self.pool, progress=False
        )
        if any(r.status != "ok" for r in records):
            raise SystemExit(f"episodes failed: {[r.error for r in records if r.error]}")
        return records

    def close(self) -> None:
        self.stack.close()


def compare(benchmark: str, task: str, args) -> dict:
    """Every side's timings on one task, repetition by repetition, the order shuffled anew."""
    with ExitStack() as stack:
        policy = {render: act(benchmark, args.executed, render) for render in ("full", "fast")}
        sides = {"lerobot": LeRobotSide(benchmark, task, policy["full"], args.max_steps)}
        stack.callback(sides["lerobot"].close)
        for render in ("full", "fast"):
            sides[render] = OurSide(benchmark, task, policy[render], args.max_steps, render)
            stack.callback(sides[render].close)
        for side in sides.values():
            side.warm()
        timings: dict[str, list[Timing]] = {name: [] for name in sides}
        apart = []
        for repetition in range(args.repeat):
            # lerobot's LIBERO plays initial states in order; the warm-up has taken the first.
            first = CORES + repetition * args.episodes
            seeds = list(range(first, first + args.episodes))
            actions = {}
            for name in random.Random(repetition).sample(list(sides), len(sides)):
                timing, actions[name] = sides[name].play(seeds)
                timings[name].append(timing)
            apart.append(np.abs(actions["lerobot"] - actions["full"]).max(axis=(0, 2)))
    return summary(benchmark, task, timings, np.max(apart, axis=0), args.executed)


def summary(benchmark: str, task: str, timings, apart: np.ndarray, executed: int) -> dict:
    """Ratios, printed and given back."""
    steps = {name: sum(t.steps for t in runs) for name, runs in timings.items()}
    if len(set(steps.values())) > 1:
        raise SystemExit(f"{benchmark}: not the same number of steps: {steps}")
    result = {"benchmark": benchmark, "task": task, "executed": executed, "steps": steps["full"]}
    spread = ACTIONS[benchmark][1]
    result["actions_apart"] = {
        "first_chunk": float(apart[:executed].max()) / spread,
        "any": float(apart.max()) / spread,
    }
    for name in ("full", "fast"):
        pairs = list(zip(timings["lerobot"], timings[name], strict=True))
        cpu = [(p.cpu / p.episodes) / (o.cpu / o.episodes) for p, o in pairs]
        wall = [o.per_minute / p.per_minute for p, o in pairs]
        result[name] = {"cpu_ratio": cpu, "episodes_per_minute_ratio": wall}
        print(f"{benchmark}, render={name}: CPU per episode {_spread(cpu)}, wall {_spread(wall)}")
    for name, runs in timings.items():
        result.setdefault("cpu_seconds_per_episode", {})[name] = [t.cpu / t.episodes for t in runs]
        result.setdefault("episodes_per_minute", {})[name] = [t.per_minute for t in runs]
        print(
            f"  {name}: {statistics.median(t.cpu / t.episodes for t in runs):.2f} CPU s/episode, "
            f"{statistics.median(t.per_minute for t in runs):.1f} episodes/min"
        )
    print(f"  actions apart, in spreads: {result['actions_apart']}", flush=True)
    return result


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benchmark", nargs="+", choices=tuple(TASKS), default=list(TASKS))
    parser.add_argument("--episodes", type=int, default=CORES, help="per task and repetition")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--max-steps", type=int, default=100)
    parser.add_argument("--executed", type=int, default=10, help="actions executed of a chunk")
    args = parser.parse_args()
    if args.episodes % CORES:
        parser.error(f"lerobot plays {CORES} episodes at once: --episodes is a multiple of that")
    warnings.filterwarnings("ignore")
    choose_backend()  # lerobot leaves this to the user
    torch.set_num_threads(1)
    prepare(args.benchmark)
    load = os.getloadavg()[0]
    results = [compare(name, task, args) for name in args.benchmark for task in TASKS[name]]
    print(json.dumps({"cores": CORES, "load_before": load, "results": results}))


if __name__ == "__main__":
    main()
