"""lerobot's vector environments for ALOHA and LIBERO, as `lerobot-eval` makes and steps them.

Described by lerobot's own configs, in asynchronous environments made as it makes them, stepped by
its own `rollout`: all environments together, every step rendered. Two things are ours: processes
import what they need without asking or downloading, and LIBERO's pictures are 256 px, as in its
data sets, not 360.
"""

from __future__ import annotations

import time
from importlib import import_module

import gymnasium
import numpy as np
import torch
from rollouts_against_lerobot import CORES, Timing, cpu_seconds

from vlascope_benchmarks.libero.assets import assets_folder
from vlascope_benchmarks.libero.importing import import_libero

LIBERO_PIXELS = 256


def prepare(benchmarks) -> None:
    """Tell LIBERO where its files are before the first process starts: all inherit it."""
    if "libero" in benchmarks:
        import_libero(assets_folder())


class WithAssets:
    """A factory of an environment, called where LIBERO knows its assets."""

    def __init__(self, factory) -> None:
        self.factory = factory

    def __call__(self):
        import_libero(assets_folder())
        return self.factory()


class RegisteredAloha:
    """lerobot's factory for ALOHA, made to work in a process of its own.

    Upstream's fails there: the process does not import the package that registers the environment,
    and the first question for a `task_description`, which ALOHA has not, ends the process.
    """

    def __init__(self, name: str, options) -> None:
        self.name, self.options = name, options

    def __call__(self):
        import_module("gym_aloha")
        env = gymnasium.make(self.name, disable_env_checker=True, **self.options)
        env.unwrapped.task_description = ""
        return env


class LeRobotSide:
    """One task in `CORES` of lerobot's environments, played by an upstream policy."""

    def __init__(self, benchmark: str, task: str, adapter, max_steps: int) -> None:
        self.adapter = adapter
        self.config, self.env = {"aloha": _aloha, "libero": _libero}[benchmark](task, max_steps)
        self.env_processors = self.config.get_env_processors()

    def warm(self) -> None:
        """Start the processes and load the task: one reset, which is not timed."""
        self.env.reset(seed=list(range(CORES)), options=_new_rollout())

    def play(self, seeds: list[int]) -> tuple[Timing, np.ndarray]:
        """Episodes of these seeds, and their actions: (episodes, steps, dim)."""
        from lerobot.scripts.lerobot_eval import rollout

        processors = self.adapter.processors
        started, cpu = time.perf_counter(), cpu_seconds()
        actions, steps = [], 0
        for first in range(0, len(seeds), CORES):
            result = rollout(
                self.env,
                self.adapter.model,
                *self.env_processors,
                processors.before,
                processors.after,
                seeds=seeds[first : first + CORES],
            )
            actions.append(result["action"])
            steps += int((~result["done"]).sum()) + CORES
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
        return Timing(seconds, len(seeds), steps, cpu), torch.cat(actions).numpy()

    def close(self) -> None:
        self.env.close()


def _new_rollout() -> dict[str, bool]:
    from lerobot.envs.utils import NEW_ROLLOUT_OPTION

    return {NEW_ROLLOUT_OPTION: True}


def _aloha(task: str, max_steps: int):
    from lerobot.envs.configs import AlohaEnv

    names = {"transfer-cube": "AlohaTransferCube-v0", "insertion": "AlohaInsertion-v0"}
    config = AlohaEnv(task=names[task], episode_length=max_steps)
    env = gymnasium.vector.AsyncVectorEnv(
        [RegisteredAloha(config.gym_id, config.gym_kwargs)] * CORES,
        context="forkserver",
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    return config, env


def _libero(task: str, max_steps: int):
    from lerobot.envs.configs import LiberoEnv
    from libero.libero import benchmark

    suite, name = task.split("/")
    numbers = {t.name: i for i, t in enumerate(benchmark.get_benchmark_dict()[suite]().tasks)}
    config = LiberoEnv(
        task=suite,
        task_ids=[numbers[name]],
        episode_length=max_steps,
        observation_height=LIBERO_PIXELS,
        observation_width=LIBERO_PIXELS,
    )
    env = config.create_envs(CORES, use_async_envs=True)[suite][numbers[name]]
    env._env_fns = [WithAssets(factory) for factory in env._env_fns]
    return config, env
