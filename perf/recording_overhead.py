"""What looking costs: inference while recording, beside the same inference bare.

    tools/uv.sh run --frozen python perf/recording_overhead.py --policy tinyvla --batch 1 16

Four questions, each answered by a ratio of CPU time (one thread) to that of a bare `predict_chunk`:
an adapter that nobody asked for anything; a recorder on every residual point; an intervention that
is attached and acts on no call; a capture that stops the forward pass at the last point wanted.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from vlascope import Observation, VLAAdapter, capture, intervene
from vlascope.interventions import Identity
from vlascope.noise import generator_for
from vlascope.plugins import adapter_class

Round = Callable[[Sequence[Observation], int], object]
"""Infers that many chunks of the batch given."""


@dataclass(frozen=True)
class Variant:
    """One way to spend the same inferences."""

    title: str
    run: Round


def variants(adapter: VLAAdapter) -> Mapping[str, Variant]:
    first = adapter.info.pathways[0].name

    def bare(batch: Sequence[Observation], chunks: int) -> None:
        for chunk in range(chunks):
            generators = [generator_for(i, chunk) for i, _ in enumerate(batch)]
            with torch.no_grad():
                adapter.predict_chunk(batch, generators=generators)

    def infer(batch: Sequence[Observation], chunks: int, after: Callable[[], object] = int) -> None:
        for chunk in range(chunks):
            generators = [generator_for(i, chunk) for i, _ in enumerate(batch)]
            adapter.infer(batch, generators=generators)
            after()

    def recording(at: str) -> Round:
        def run(batch: Sequence[Observation], chunks: int) -> None:
            with adapter.record(at) as cache:  # emptied after each chunk, as rollouts do
                infer(batch, chunks, cache.clear)

        return run

    def idle_edit(batch: Sequence[Observation], chunks: int) -> None:
        with intervene(adapter, Identity(at=("*.resid_post",), calls=()), must_fire=False):
            infer(batch, chunks)

    def stopping(batch: Sequence[Observation], chunks: int) -> None:
        for chunk in range(chunks):
            generators = [generator_for(i, chunk) for i, _ in enumerate(batch)]
            capture(adapter, batch, f"{first}.*.resid_post", generators=generators)

    return {
        "bare": Variant("bare predict_chunk", bare),
        "idle": Variant("infer, nothing attached", infer),
        "resid_post": Variant("record *.resid_post", recording("*.resid_post")),
        "resid": Variant("record *.resid_* (every residual point)", recording("*.resid_*")),
        "idle_edit": Variant("intervention on *.resid_post that acts on no call", idle_edit),
        "first": Variant(f"record {first}.*.resid_post", recording(f"{first}.*.resid_post")),
        "stop_early": Variant(f"capture {first}.*.resid_post, stopping there", stopping),
    }


def measure(
    adapter: VLAAdapter, batch: Sequence[Observation], *, rounds: int, chunks: int
) -> dict[str, list[float]]:
    """CPU seconds per chunk of every variant, one number a round, in shuffled turns."""
    ways = variants(adapter)
    shuffle = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name in shuffle.sample(sorted(ways), len(ways)):
            before = time.process_time()
            ways[name].run(batch, chunks)
            if number >= 0:  # the first round warms up
                seconds[name].append((time.process_time() - before) / chunks)
    return seconds


def hooks_on(adapter: VLAAdapter) -> int:
    """How many hooks there are on the policy's modules now."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in adapter.model.modules()
    )


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median over rounds of each variant's cost, in bare inferences of the same round."""
    return {
        name: median(t / bare for t, bare in zip(times, seconds["bare"], strict=True))
        for name, times in seconds.items()
    }


def load(policy: str, checkpoint: str | None) -> VLAAdapter:
    adapter = adapter_class(policy)
    if checkpoint == "tiny":
        return adapter.tiny(0)
    return adapter.from_pretrained(checkpoint or "bundled")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="tinyvla", help="a name from `vlascope list`")
    parser.add_argument("--checkpoint", help="what it loads; 'tiny' for random weights")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="rows an inference")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--chunks", type=int, default=10, help="inferences of a variant a round")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    adapter = load(options.policy, options.checkpoint)
    points = {at: len(adapter.match(at)) for at in ("*.resid_post", "*.resid_*")}
    idle_hooks = hooks_on(adapter)
    with adapter.record("*.resid_post"):
        attached = hooks_on(adapter)
    print(f"{adapter.name} ({adapter.info.checkpoint}); hook points {points}")
    print(f"hooks on the model: {idle_hooks} idle, {attached} recording, {hooks_on(adapter)} after")

    results = []
    for rows in options.batch:
        batch = [adapter.example_observation(seed) for seed in range(rows)]
        seconds = measure(adapter, batch, rounds=options.rounds, chunks=options.chunks)
        ratio = ratios(seconds)
        print(f"\nbatch {rows}: CPU time, bare = {1e3 * median(seconds['bare']):.2f} ms a chunk")
        for name, variant in variants(adapter).items():
            print(f"  {ratio[name]:6.3f}  {variant.title}")
        results.append({"batch": rows, "bare_ms": 1e3 * median(seconds["bare"]), "ratio": ratio})
    summary = {"policy": adapter.name, "checkpoint": adapter.info.checkpoint, "results": results}
    print(json.dumps({**summary, "idle_hooks": idle_hooks, "rounds": options.rounds}))


if __name__ == "__main__":
    main()
