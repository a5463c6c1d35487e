"""Which library finds a planted dictionary again, at equal samples?

    python perf/sae_recovery.py [--no-peers] [--steps 1500] [--seeds 5]

TopK autoencoders, each in its library's own loop (see `sae_peers.py`), on sparse sums of known
directions: frequencies that differ tenfold, features that fire together, a mean offset, and 1% of
rows thirty times as long. The same rows in the same order for everyone, the same number of steps,
the same schedule (a tenth warm-up, then linearly to zero), a latent dead after the same number of
samples where a library counts, and the rate that each library recommends; beside it the best of
`--rates`. Printed is the mean over true directions of the largest cosine to a learned one (MMCS),
and FVU on held-out rows that are not outliers: mean and standard deviation over seeds.

Outliers are dropped for everyone beforehand (rows above ten median norms), or left in for everyone,
ours included; a third part is ours as its trainer does it, dropping them itself. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Callable
from statistics import mean, stdev

import torch
from sae_peers import RECOMMENDED, Shape, Trained, falling, installed
from sae_step import fvu, plant

from vlascope_sae.architectures.topk import TopK, TopKConfig
from vlascope_sae.training.spec import recommended_rate

D, TRUE, LATENTS, K, BATCH = 64, 128, 192, 5, 512
DEAD_AFTER = 20 * BATCH
PARTS = ("removed", "left_in", "dropped_by_ours")


def ours(batches, shape, lr):
    """The trainer's step: Adam, clipping, dead latents counted in samples."""
    sae = TopK(TopKConfig(d_in=shape.d, d_sae=shape.f, k=shape.k, dead_after=shape.dead_after))
    optimiser = torch.optim.Adam(sae.parameters(), lr=lr, fused=True)
    schedule = falling(optimiser, shape)
    silent = torch.zeros(shape.f)
    for number, x in enumerate(batches):
        if number == 0:
            sae.initialise(x)
        step = sae.step(x, dead=silent >= shape.dead_after)
        optimiser.zero_grad()
        step.loss.backward()
        sae.before_optimizer_step()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        sae.after_optimizer_step()
        silent = torch.where(step.fired, 0, silent + len(x))
    return Trained(sae.eval(), sae.W_dec)


def without_long_rows(train):
    """Ours with what its trainer does to rows that come with outliers."""

    def kept(batches):
        for x in batches:
            length = x.norm(dim=1)
            yield x[length <= 10 * length.median()]

    return lambda batches, shape, lr: train(kept(batches), shape, lr)


def run(train, *, outliers: bool, seed: int, steps: int, lr: float) -> tuple[float, float]:
    """MMCS and FVU of one training."""
    planted = plant(D, TRUE, 50_000, seed=seed)
    held_out, rows = planted.ordinary[:5000], planted.rows[5100:]
    if not outliers:
        rows = rows[~planted.outlier[5100:]]
    torch.manual_seed(seed)
    shape = Shape(D, LATENTS, K, BATCH, steps, torch.device("cpu"), steps // 10, DEAD_AFTER)
    made = torch.Generator().manual_seed(seed)

    def batches():
        for _ in range(steps):
            yield rows[torch.randint(0, len(rows), (BATCH,), generator=made)]

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trained = train(batches(), shape, lr)
    directions = trained.directions.detach().float()
    return planted.found(directions), fvu(trained.reconstruct, held_out)


def told(lr: float, found: list[tuple[float, float]]) -> dict[str, float]:
    """Mean and spread over seeds."""
    cosines, left = [c for c, _ in found], [v for _, v in found]
    spread = stdev if len(found) > 1 else (lambda _: 0.0)
    return {
        "lr": lr,
        "mmcs": round(mean(cosines), 3),
        "mmcs_sd": round(spread(cosines), 3),
        "fvu": round(mean(left), 3),
        "fvu_sd": round(spread(left), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="try these as well")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="of the table")
    parser.add_argument("--only", nargs="*", help="these contestants alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    peers = {} if args.no_peers else installed()
    parts: dict[str, tuple[bool, dict[str, Callable]]] = {
        "removed": (False, {"ours": ours, **peers}),
        "left_in": (True, {"ours": ours, **peers}),
        "dropped_by_ours": (True, {"ours": without_long_rows(ours)}),
    }
    rates = {"ours": recommended_rate, **RECOMMENDED}
    answer: dict[str, dict[str, object]] = {}
    for part in args.parts:
        outliers, contestants = parts[part]
        print(f"outliers: {part}", flush=True)
        for name, train in contestants.items():
            own = rates[name](LATENTS)
            if args.only and name not in args.only:
                continue
            wanted = [own, *args.rates]
            try:
                found = {
                    lr: [
                        run(train, outliers=outliers, seed=seed, steps=args.steps, lr=lr)
                        for seed in range(args.seeds)
                    ]
                    for lr in wanted
                }
            except Exception as error:
                print(f"  {name:20} failed, {type(error).__name__}: {error}", flush=True)
                continue
            best = max(found, key=lambda lr: mean(c for c, _ in found[lr]))
            line = {"recommended": told(own, found[own]), "best_rate": told(best, found[best])}
            answer.setdefault(part, {})[name] = line
            print(f"  {name:20} {line['recommended']}  best {line['best_rate']}", flush=True)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
