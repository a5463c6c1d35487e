"""What looking and patching cost on every architecture, beside nnsight reading the same tensors.

    UV_PROJECT_ENVIRONMENT=.venv-perf tools/uv.sh sync --all-extras
    tools/uv.sh pip install --python .venv-perf/bin/python 'nnsight>=0.8,<0.9'
    .venv-perf/bin/python perf/adapters_against_nnsight.py

Every adapter's tiny policy infers the same observation, bare (`predict_chunk`, which is the
upstream call and its pre- and post-processing), with a recorder on every residual point, and with
one `resid_post` patched. nnsight reads those of the residual points that are the output or the
input of one module, and vlascope reads the same ones beside it. Ratios of CPU time to the bare
call, one thread, medians over rounds in shuffled turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import nn

from vlascope import HookPoint, VLAAdapter, capture, load, plugins
from vlascope.interventions import Inject
from vlascope.noise import generator_for
from vlascope.taps import InputTap, OutputTap, Tap, TokenTap

Way = Callable[[], object]
CHUNKS = 5
"""Inferences of one turn; a recorder or a patch stays open over them, as in a rollout."""


class Whole(nn.Module):
    """One inference as the forward pass that nnsight traces."""

    def __init__(self, adapter: VLAAdapter) -> None:
        super().__init__()
        self.model, self._infer = adapter.model, bare(adapter)

    def forward(self, _nothing: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._infer().actions)


def bare(adapter: VLAAdapter) -> Callable[[], Any]:
    seen = [adapter.example_observation(0)]

    def run() -> Any:
        with torch.no_grad():
            return adapter.predict_chunk(seen, generators=[generator_for(0)])

    return run


def recording(adapter: VLAAdapter, points: Sequence[HookPoint]) -> Way:
    seen, names = [adapter.example_observation(0)], [str(point) for point in points]

    def run() -> object:
        with adapter.record(names) as cache:
            for _ in range(CHUNKS):
                cache.clear()
                adapter.infer(seen, generators=[generator_for(0)])
        return cache

    return run


def patching(adapter: VLAAdapter, point: HookPoint) -> Way:
    seen = [adapter.example_observation(0)]
    cache = capture(adapter, seen, str(point), generators=[generator_for(0)])
    edit = Inject(at=(str(point),), source=cache)
    moments = cache.moments(point)[:1]

    def run() -> object:
        with adapter.intervene(edit):
            for _ in range(CHUNKS):
                adapter.infer(seen, generators=[generator_for(0)], moments=moments)

    return run


def module_of(tap: Tap) -> tuple[str, bool] | None:
    """The module whose output (or input) the tap shows, where it is one."""
    inner = tap.tap if isinstance(tap, TokenTap) else tap
    if isinstance(inner, OutputTap):
        return inner.module, True
    if isinstance(inner, InputTap) and inner.argument == 0:
        return inner.module, False
    return None


def readable(adapter: VLAAdapter) -> dict[HookPoint, tuple[str, bool]]:
    """Residual points that are one module's output or input."""
    taps = adapter.hook_points()
    found = {p: module_of(taps[p]) for p in adapter.match("*.resid_*")}
    return {point: where for point, where in found.items() if where is not None}


def nnsight_reading(adapter: VLAAdapter, where: Sequence[tuple[str, bool]]) -> Way:
    """Reads every call of every module, in the order in which they are computed."""
    from nnsight import NNsight

    fired = firing_order(adapter, dict.fromkeys(where))
    wrapped, nothing = NNsight(Whole(adapter)), torch.zeros(1)
    envoys = {place: envoy(wrapped.model, place[0]) for place in fired}
    calls = [
        [(envoys[place], place[1]) for place, times in fired.items() if times > call]
        for call in range(max(fired.values()))
    ]

    def once() -> list[Any]:
        kept: list[Any] = []
        with wrapped.trace(nothing) as tracer:
            for call, modules in enumerate(calls):
                with tracer.iter[call]:
                    for module, is_output in modules:
                        kept.append((module.output if is_output else module.input).save())
        return kept

    found, wanted = len(once()), sum(fired.values())
    if found != wanted:
        raise RuntimeError(f"nnsight read {found} tensors of {adapter.name}, not {wanted}")
    return repeated(once)


def firing_order(
    adapter: VLAAdapter, places: Mapping[tuple[str, bool], None]
) -> dict[tuple[str, bool], int]:
    """How often each place is computed in a chunk, ordered by when it first is."""
    fired: dict[tuple[str, bool], int] = {}

    def count(place: tuple[str, bool]) -> None:
        fired[place] = fired.get(place, 0) + 1

    handles = []
    for place in places:
        module = adapter.model.get_submodule(place[0])
        if place[1]:
            handles.append(module.register_forward_hook(lambda *_, at=place: count(at)))
        else:
            handles.append(module.register_forward_pre_hook(lambda *_, at=place: count(at)))
    bare(adapter)()
    for handle in handles:
        handle.remove()
    return fired


def repeated(once: Way) -> Way:
    def run() -> None:
        for _ in range(CHUNKS):
            once()

    return run


def envoy(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root


def measure(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Median ratio to `bare`, and the bare call's own milliseconds."""
    shuffle = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name in shuffle.sample(sorted(ways), len(ways)):
            before = time.process_time()
            ways[name]()
            if number >= 0:  # the first round warms up
                seconds[name].append(time.process_time() - before)
    found = {
        name: median(t / b for t, b in zip(times, seconds["bare"], strict=True))
        for name, times in seconds.items()
        if name != "bare"
    }
    return {"bare_ms": 1e3 * median(seconds["bare"]) / CHUNKS, **found}


def ways_of(name: str) -> tuple[VLAAdapter, dict[str, Way]]:
    adapter = load(name)
    live = [p for p in adapter.match("*.resid_post") if p not in adapter.dead_points()]
    shared = readable(adapter)
    ways: dict[str, Way] = {
        "bare": repeated(bare(adapter)),
        "record_all": recording(adapter, adapter.match("*.resid_*")),
        "patch_one": patching(adapter, live[len(live) // 2]),
        "record_shared": recording(adapter, sorted(shared)),
    }
    if importlib.util.find_spec("nnsight"):
        ways["nnsight_shared"] = nnsight_reading(adapter, list(shared.values()))
    return adapter, ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", nargs="+", default=sorted(set(plugins.adapters()) - {"toy"}))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = {}
    for name in options.adapter:
        adapter, ways = ways_of(name)
        found = measure(ways, options.rounds)
        points = len(adapter.match("*.resid_*"))
        results[name] = {**found, "points": points, "shared": len(readable(adapter))}
        print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    print(json.dumps({"rounds": options.rounds, "results": results}))


if __name__ == "__main__":
    main()
