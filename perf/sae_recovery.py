"""Which library finds a planted dictionary again, at equal samples?

    python perf/sae_recovery.py [--no-peers] [--steps 1500]

TopK autoencoders, each in its library's own loop (see `sae_peers.py`), on sparse sums of known
directions: frequencies that differ tenfold, features that fire together, a mean offset, and 1% of
rows thirty times as long. Printed is the mean over true directions of the largest cosine to a
learned one, the median over seeds, at each library's better learning rate; once with the long rows
in the batches and once with them left out beforehand for everyone. Ours drops rows above ten median
norms itself, as its trainer does. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from statistics import median

import torch
from sae_peers import Trained, installed
from sae_step import Shape, fvu, plant

from vlascope_sae.architectures.topk import TopK, TopKConfig

RATES = (1e-3, 3e-3)
D, TRUE, LATENTS, K, BATCH = 64, 128, 192, 5, 512


def ours(batches, shape, lr):
    sae = TopK(TopKConfig(d_in=shape.d, d_sae=shape.f, k=shape.k, dead_after=10_000))
    optimiser = torch.optim.Adam(sae.parameters(), lr=lr, fused=True)
    silent = torch.zeros(shape.f)
    for number, raw in enumerate(batches):
        length = raw.norm(dim=1)
        x = raw[length <= 10 * length.median()]
        if number == 0:
            sae.initialise(x)
        left = 1 - number / shape.steps
        optimiser.param_groups[0]["lr"] = lr * min(1.0, 3 * left)
        step = sae.step(x, dead=silent >= 10_000)
        optimiser.zero_grad()
        step.loss.backward()
        sae.before_optimizer_step()
        optimiser.step()
        sae.after_optimizer_step()
        silent = torch.where(step.fired, 0, silent + len(x))
    return Trained(sae.eval(), sae.W_dec)


def run(train, planted, rows, held_out, steps, seed, lr):
    torch.manual_seed(seed)
    shape = Shape(D, LATENTS, K, BATCH, steps, torch.device("cpu"))
    made = torch.Generator().manual_seed(seed)

    def batches():
        for _ in range(steps):
            yield rows[torch.randint(0, len(rows), (BATCH,), generator=made)]

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trained = train(batches(), shape, lr)
    directions = trained.directions.detach().float()
    return planted.found(directions), fvu(trained.reconstruct, held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    contestants = {"ours": ours} | ({} if args.no_peers else installed())
    answer: dict[str, dict[str, object]] = {}
    for outliers in (True, False):
        for name, train in contestants.items():
            found: dict[float, list[tuple[float, float]]] = {}
            try:
                for lr in RATES:
                    for seed in range(args.seeds):
                        planted = plant(D, TRUE, 50_000, seed=seed)
                        test = planted.ordinary[:5000]
                        rows = planted.rows if outliers else planted.ordinary
                        got = run(train, planted, rows[5100:], test, args.steps, seed, lr)
                        found.setdefault(lr, []).append(got)
            except Exception as error:
                print(f"{name}: failed, {type(error).__name__}: {error}", flush=True)
                continue
            medians = {lr: median(cosine for cosine, _ in got) for lr, got in found.items()}
            best = max(medians, key=lambda lr: medians[lr])
            told = {
                "mmcs": round(medians[best], 3),
                "fvu": round(median(left for _, left in found[best]), 3),
                "lr": best,
            }
            where = "with_outliers" if outliers else "without_outliers"
            answer.setdefault(where, {})[name] = told
            print(f"{where:17} {name:20} {told}", flush=True)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
