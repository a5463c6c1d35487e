"""Starting environments, for one run or to be shared by several."""

from __future__ import annotations

from pathlib import Path

from vlascope.rollout.messages import Setup
from vlascope.rollout.pool import EnvPool
from vlascope.rollout.spec import BenchmarkSpec

__all__ = ["open_environments"]


def open_environments(
    benchmark: BenchmarkSpec,
    logs: str | Path,
    *,
    workers: int = 2,
    envs_per_worker: int = 2,
    timeout: float = 120.0,
    start_timeout: float = 300.0,
) -> EnvPool:
    """Start environments once and share them between several `run_episodes`.

        with open_environments(benchmark, run_dir / "workers") as environments:
            for arm in arms:
                run_episodes(..., environments=environments)

    Args:
        benchmark: what to play.
        logs: folder for what the workers print.
        workers: processes.
        envs_per_worker: environments in each.
        timeout: seconds an environment may take for one chunk.
        start_timeout: seconds a worker may take to build the benchmark.
    """
    return EnvPool(
        Setup(benchmark.name, benchmark.options),
        workers=workers,
        per_worker=envs_per_worker,
        timeout=timeout,
        start_timeout=start_timeout,
        logs=Path(logs),
    )
