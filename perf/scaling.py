"""Episodes per minute by workers, environments and executor, and what the time is spent on.

Every variant plays the same episodes in turn, round after round; ratios are taken within a round.
Starting up (processes, loading, Ray) is left out: each variant first plays an arm that is not
timed, and an arm's time runs from its first episode's beginning to its last one's end.

    uv run --frozen --extra ray python perf/scaling.py
    uv run --frozen --extra ray --extra metaworld python perf/scaling.py --policy tinyvla \
        --benchmark metaworld --task button-press-topdown --max-steps 100

Prints a table for people; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from vlascope.rollout.log import LogLine
from vlascope.study.execution import run_study
from vlascope.study.schema import Study
from vlascope.study.status import log_lines, tally


@dataclass(frozen=True)
class Variant:
    """One way to play: `processes` holding `envs` environments each, in all."""

    name: str
    processes: int
    envs: int
    batch: str = "batched"
    executor: str = "local"

    def study(self, args: argparse.Namespace) -> Study:
        """The study that is timed; on Ray, each of two actors has half of the processes."""
        actors = 2 if self.executor == "ray" else 1
        return Study.model_validate(
            {
                "name": "scaling",
                "policies": {
                    "policy": {"adapter": args.policy, "checkpoint": args.checkpoint},
                },
                "benchmark": {"name": args.benchmark},
                "tasks": [args.task],
                "seeds": f"0-{args.episodes - 1}",
                "max_steps": args.max_steps,
                "batch": self.batch,
                "workers": self.processes // actors,
                "envs_per_worker": self.envs,
                "executor": {"kind": self.executor, "actors": actors, "unit": args.unit},
                # An instruction of its own, so that no episode is taken from the other arm.
                "arms": {"warming": {"prompt": "warm up"}, "timed": {}},
            }
        )


VARIANTS = (
    Variant("1 process, batch 1", 1, 1, "exact"),
    Variant("1 process, 4 environments", 1, 4),
    Variant("2 processes, batch 1", 2, 1, "exact"),
    Variant("2 processes, 2 environments each", 2, 2),
    Variant("2 processes, 4 environments each", 2, 4),
    Variant("ray: 2 actors, 2 environments each", 2, 2, executor="ray"),
)
BASE, LOCAL, RAY = VARIANTS[0], VARIANTS[3], VARIANTS[5]


def timed(variant: Variant, args: argparse.Namespace) -> tuple[float, list[LogLine]]:
    """Episodes per minute of the timed arm, and its log."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_study(variant.study(args), Path(folder), progress=False)
        if not outcome.ok:
            raise SystemExit(f"{variant.name}: {outcome.complaints}")
        lines = [line for line in log_lines(Path(folder)) if line.arm == "timed"]
    began = min(line.at - line.seconds for line in lines)
    return 60 * len(lines) / (max(line.at for line in lines) - began), lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="toy")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--benchmark", default="toy")
    parser.add_argument("--task", default="shared/red")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--unit", type=int, default=10)
    parser.add_argument("--max-steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    rates: dict[str, list[float]] = {v.name: [] for v in VARIANTS}
    logs: dict[str, list[LogLine]] = {v.name: [] for v in VARIANTS}
    for turn in range(args.rounds):
        for variant in random.Random(turn).sample(VARIANTS, len(VARIANTS)):
            rate, lines = timed(variant, args)
            rates[variant.name].append(rate)
            logs[variant.name] += lines
    result = {"cores": os.cpu_count(), "arguments": vars(args), "variants": {}}
    for name, found in rates.items():
        ratios = [rate / base for rate, base in zip(found, rates[BASE.name], strict=True)]
        summed = tally(logs[name])
        phases = ", ".join(f"{phase} {share:.0%}" for phase, share in summed.shares.items())
        print(
            f"{name}: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"largest batch {max(line.batch for line in logs[name])}; {phases}"
        )
        result["variants"][name] = {"ratios": ratios, "per_minute": found, "phases": summed.shares}
    overhead = [r / here for r, here in zip(rates[RAY.name], rates[LOCAL.name], strict=True)]
    result["ray_against_local"] = overhead
    print(
        f"ray against local, 2 processes and 4 environments in all: "
        f"{statistics.median(overhead):.2f}x ({min(overhead):.2f} to {max(overhead):.2f})"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
