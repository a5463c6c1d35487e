"""Speed of one SAE training step against textbook torch and, where installed, other libraries.

    python perf/sae_step.py [--json] [--no-peers] [--shape 512 4096 32 2048] [--steps 24]

Every contestant trains a TopK autoencoder in its own loop on the same batches; they take turns
batch by batch in an order drawn anew. Times are CPU time at one thread (wall time with the device
synchronised on a GPU), medians of ratios within a turn, warm-up steps left out. FVU is that of
held-out rows after the same samples. The last line is JSON; with --json the only one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import threading
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sae"))

from planted import plant
from sae_peers import Shape, Trained, installed

from vlascope_sae.architectures.topk import TopK, TopKConfig

SHAPES = [(512, 4096, 32, 2048), (960, 7680, 64, 4096)]
OURS = ("ours", "ours_bf16")
WARM_UP = 4


def ours(precision):
    def train(batches, shape, lr):
        config = TopKConfig(d_in=shape.d, d_sae=shape.f, k=shape.k, precision=precision)
        sae = TopK(config).to(shape.device)
        optimiser = torch.optim.Adam(sae.parameters(), lr=lr, fused=True)
        for number, x in enumerate(batches):
            if number == 0:
                sae.initialise(x)
            optimiser.zero_grad()
            sae.step(x).loss.backward()
            sae.before_optimizer_step()
            optimiser.step()
            sae.after_optimizer_step()
        return Trained(sae.eval(), sae.W_dec)

    return train


def textbook(batches, shape, lr):
    """What a tutorial writes: dense codes, autograd, Adam, unit-norm decoder."""
    start = TopK(TopKConfig(d_in=shape.d, d_sae=shape.f, k=shape.k)).to(shape.device)
    w_enc = start.W_enc.detach().contiguous().requires_grad_()
    w_dec = start.W_dec.detach().clone().requires_grad_()
    b_enc = start.b_enc.detach().clone().requires_grad_()
    b_dec = start.b_dec.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([w_enc, w_dec, b_enc, b_dec], lr=lr)

    def reconstruct(x):
        pre = (x - b_dec) @ w_enc + b_enc
        top = pre.topk(shape.k, dim=-1)
        z = torch.zeros_like(pre).scatter(-1, top.indices, functional.relu(top.values))
        return z @ w_dec + b_dec

    for number, x in enumerate(batches):
        if number == 0:
            b_dec.data = start.initialise(x).b_dec.detach().clone()
        loss = (reconstruct(x) - x).square().sum() / (x - x.mean(0)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        with torch.no_grad():
            w_dec.grad -= (w_dec.grad * w_dec).sum(1, keepdim=True) * w_dec
        optimiser.step()
        with torch.no_grad():
            w_dec /= w_dec.norm(dim=1, keepdim=True)
    return Trained(reconstruct, w_dec)


class Lane(threading.Thread):
    """One contestant in its own loop, which goes on only when it is its turn."""

    def __init__(self, name, train, shape, rows, lr):
        super().__init__(daemon=True)
        self.contestant, self.train, self.shape, self.rows, self.lr = name, train, shape, rows, lr
        self.seconds, self.result, self.error, self.ended = [], None, None, False
        self.go, self.idle = threading.Event(), threading.Event()

    def clock(self):
        if self.shape.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def pause(self):
        self.idle.set()
        self.go.wait()
        self.go.clear()

    def batches(self):
        size = self.shape.batch
        for number in range(self.shape.steps):
            if number:
                self.seconds.append(self.clock() - self.started)
            self.pause()
            first = number * size % (len(self.rows) - size + 1)
            self.started = self.clock()
            yield self.rows[first : first + size]
        self.seconds.append(self.clock() - self.started)

    def run(self):
        try:
            self.result = self.train(self.batches(), self.shape, self.lr)
        except BaseException as error:
            self.error = error
        self.ended = True
        self.idle.set()

    def turn(self):
        """Let it work until it asks for its next batch; nobody else runs meanwhile."""
        if self.ended:
            return
        self.idle.clear()
        # one of them sets this for the whole process
        fast = self.contestant == "sparsify"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        if self.is_alive():
            self.go.set()
        else:
            self.start()
        self.idle.wait()


def fvu(reconstruct, x):
    """1 - explained variance over all rows at once, in float64."""
    with torch.no_grad():
        told = torch.cat([reconstruct(part) for part in x.split(1024)]).double()
    wanted = x.double()
    return float((wanted - told).square().sum() / (wanted - wanted.mean(0)).square().sum())


def measure(shape, contestants, lr, quiet):
    planted = plant(shape.d, 2 * shape.d, 5 * shape.batch, active=1.5 * shape.k, outliers=0.0)
    held_out, rows = planted.rows.to(shape.device).split([shape.batch, 4 * shape.batch])
    lanes = [Lane(name, train, shape, rows, lr) for name, train in contestants.items()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        while not all(lane.ended for lane in lanes):
            for lane in random.sample(lanes, len(lanes)):
                lane.turn()
    torch.set_float32_matmul_precision("highest")
    done = [lane for lane in lanes if lane.error is None and len(lane.seconds) >= shape.steps - 1]
    failed = {
        lane.contestant: f"{type(lane.error).__name__}: {lane.error}"
        if lane.error
        else f"{len(lane.seconds)} of {shape.steps} steps"
        for lane in lanes
        if lane not in done
    }
    seconds = {lane.contestant: lane.seconds[WARM_UP:] for lane in done}
    best = min(OURS, key=lambda name: median(seconds[name]))

    def ratio(name, against):
        # a loop that never asks for one batch too many hides its last step
        pairs = zip(seconds[name], seconds[against], strict=False)
        return median(theirs / own for theirs, own in pairs)

    peers = [name for name in seconds if name not in (*OURS, "textbook")]
    answer = {
        "d": shape.d,
        "F": shape.f,
        "k": shape.k,
        "batch": shape.batch,
        "steps": shape.steps,
        "device": str(shape.device),
        "milliseconds": {name: round(1e3 * median(s), 1) for name, s in seconds.items()},
        "samples_per_second": {name: round(shape.batch / median(s)) for name, s in seconds.items()},
        "fvu": {lane.contestant: round(fvu(lane.result.reconstruct, held_out), 4) for lane in done},
        "fastest_of_ours": best,
        "ratio_to_textbook": round(ratio("textbook", best), 2),
        "ratio_to_textbook_full_precision": round(ratio("textbook", "ours"), 2),
    }
    if peers:
        fastest = min(peers, key=lambda name: median(seconds[name]))
        answer["best_peer"] = fastest
        answer["ratio_to_best_peer"] = round(ratio(fastest, best), 2)
    if failed:
        answer["failed"] = failed
    if not quiet:
        print(f"d {shape.d}, F {shape.f}, k {shape.k}, batch {shape.batch}, on {shape.device}")
        for name in seconds:
            print(
                f"  {name:20} {answer['milliseconds'][name]:9.1f} ms  "
                f"{ratio('textbook', name):5.2f} x textbook  FVU {answer['fvu'][name]:.4f}"
            )
        for name, why in failed.items():
            print(f"  {name:20} failed: {why}")
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    parser.add_argument("--shape", type=int, nargs=4, action="append", metavar=("D", "F", "K", "B"))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    contestants = {"ours": ours("full"), "ours_bf16": ours("bf16"), "textbook": textbook}
    if not args.no_peers:
        contestants |= installed()
    answers = []
    for d, f, k, batch in args.shape or SHAPES:
        shape = Shape(d, f, k, batch, args.steps, torch.device(args.device))
        answers.append(measure(shape, contestants, args.lr, args.json))
    worst = {
        name: min(answer[name] for answer in answers)
        for name in ("ratio_to_textbook", "ratio_to_best_peer")
        if all(name in answer for answer in answers)
    }
    print(json.dumps({**worst, "shapes": answers}))


if __name__ == "__main__":
    main()
