"""Every architecture in two tables: its tiny policy, measured, and the published one, counted.

    tools/uv.sh run --frozen python perf/architectures.py

Chunk times are CPU milliseconds of one `infer` at batch 1 on one thread, medians; parameters of
the published sizes come from the upstream class built on the meta device, shared out among the
pathways by the modules that hold their hook points.
"""

from __future__ import annotations

import json
import time
import warnings
from pkgutil import resolve_name
from statistics import median

import torch

from vlascope import VLAAdapter, load, plugins
from vlascope.anatomy import count_parameters, look

PUBLISHED = {
    "act": "lerobot.act:at_real_size",
    "groot": "lerobot.groot_built:at_real_size",
    "groot_n15": "groot_n15.published:at_real_size",
    "openvla": "openvla.adapter:at_real_size",
    "openvla_oft": "openvla.oft_adapter:at_real_size",
    "pi0": "lerobot.pi_sizes:at_real_size",
    "pi05": "lerobot.pi_sizes:at_real_size",
    "smolvla": "lerobot.smolvla_built:at_real_size",
    "xvla": "lerobot.xvla_built:at_real_size",
}


def chunk_ms(adapter: VLAAdapter, rounds: int = 15) -> float:
    seen = [adapter.example_observation(0)]
    adapter.infer(seen)
    times = []
    for _ in range(rounds):
        before = time.process_time()
        adapter.infer(seen)
        times.append(time.process_time() - before)
    return 1e3 * median(times)


def tiny_row(adapter: VLAAdapter) -> dict[str, object]:
    anatomy = look(adapter)
    return {
        "pathways": {p.name: p.n_layers for p in adapter.info.pathways},
        "calls": {p.name: p.calls_per_chunk for p in adapter.info.pathways},
        "points": anatomy.points,
        "dead": list(anatomy.dead),
        "parameters": anatomy.parameters.total,
        "chunk_ms": round(chunk_ms(adapter), 1),
    }


def published_row(name: str, adapter: VLAAdapter) -> dict[str, int]:
    build = resolve_name(f"vlascope_adapters.{PUBLISHED[name]}")
    model = build(name) if name in ("pi0", "pi05") else build()
    shares = count_parameters(model, adapter.hook_points())
    pathways = {pathway: count.number for pathway, count in shares.pathways.items()}
    return {**pathways, "elsewhere": shares.elsewhere.number, "total": shares.total}


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tiny, published = {}, {}
    for name in sorted(set(plugins.adapters()) - {"toy"}):
        adapter = load(name)
        tiny[name] = tiny_row(adapter)
        if name in PUBLISHED:
            published[name] = published_row(name, adapter)
    print("| tiny policy | pathways (blocks x calls) | hook points | dead | params | chunk |")
    print("|---|---|---|---|---|---|")
    for name, row in tiny.items():
        stacks = ", ".join(
            f"`{p}` {blocks} x {row['calls'][p] or 'any'}" for p, blocks in row["pathways"].items()
        )
        print(
            f"| `{name}` | {stacks} | {row['points']} | {len(row['dead'])} | "
            f"{row['parameters'] / 1e6:.2f} M | {row['chunk_ms']} ms |"
        )
    print("\n| published size | parameters by pathway | elsewhere | total |\n|---|---|---|---|")
    for name, counts in published.items():
        parts = ", ".join(
            f"`{pathway}` {number / 1e6:.1f} M"
            for pathway, number in counts.items()
            if pathway not in ("elsewhere", "total")
        )
        rest, total = counts["elsewhere"] / 1e6, counts["total"] / 1e6
        print(f"| `{name}` | {parts} | {rest:.1f} M | {total:.1f} M |")
    print(json.dumps({"tiny": tiny, "published": published}))


if __name__ == "__main__":
    main()
