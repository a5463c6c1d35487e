"""Playing episodes: many environments in worker processes, one batched policy.

Names are imported when first used: worker processes import this package and stay free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlascope.rollout.arrays import EpisodeArrays as EpisodeArrays
    from vlascope.rollout.environments import open_environments as open_environments
    from vlascope.rollout.film import Film as Film
    from vlascope.rollout.ledger import read_episodes as read_episodes
    from vlascope.rollout.run import run_episodes as run_episodes
    from vlascope.rollout.spec import BenchmarkSpec as BenchmarkSpec

_HOMES = {
    "BenchmarkSpec": "spec",
    "EpisodeArrays": "arrays",
    "Film": "film",
    "read_episodes": "ledger",
    "open_environments": "environments",
    "run_episodes": "run",
}

__all__ = [
    "BenchmarkSpec",
    "EpisodeArrays",
    "Film",
    "open_environments",
    "read_episodes",
    "run_episodes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlascope.rollout' has no attribute {name!r}")
    return getattr(import_module(f"vlascope.rollout.{_HOMES[name]}"), name)
