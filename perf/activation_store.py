"""Speed of the activation store against plain file writes and memory copies.

    python perf/activation_store.py [--units 8] [--rows 16384] [--width 512]

Prints each figure with its ratio to the plain operation measured right beside it; on a busy machine
only the ratios (and the CPU seconds) mean something.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from vlascope.hooks import HookPoint, Moment
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance

POINT = HookPoint("expert", 0, "resid_post")
TOKENS = 64


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def entries(episode, rows, width):
    value = torch.randn(TOKENS, width).half()
    return [
        Entry(Moment(episode, k, k), tuple(range(TOKENS)), None, value.clone())
        for k in range(rows // TOKENS)
    ]


def plain_write(path, value):
    with path.open("wb") as file:
        file.write(memoryview(value.view(torch.uint8).numpy()))
        file.flush()
        os.fsync(file.fileno())


def line(name, gigabytes, ours, plain, other):
    print(
        f"{name:28} {gigabytes / ours[0]:6.2f} GB/s wall, {ours[1] / gigabytes:6.2f} CPU s/GB; "
        f"{plain[0] / ours[0]:5.2f} x {other} ({plain[1] / ours[1]:5.2f} x in CPU)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--width", type=int, default=512)
    args = parser.parse_args()
    torch.set_num_threads(1)
    provenance = Provenance(
        adapter="perf", checkpoint="none", checkpoint_hash="0", spec=RecordSpec(at="*")
    )
    units = [entries(f"e{i}", args.rows, args.width) for i in range(args.units)]
    raw = torch.cat([e.value for e in units[0]])
    size = raw.numel() * raw.element_size() * args.units / 1e9
    with tempfile.TemporaryDirectory() as folder:
        store = ActivationStore.create(Path(folder) / "store", provenance)

        def write():
            for i, unit in enumerate(units):
                store.write(f"e{i}", {POINT: unit})

        def write_plain():
            for i in range(args.units):
                plain_write(Path(folder) / f"{i}.bin", raw)

        plain = timed(write_plain)
        line("write, synced", size, timed(write), plain, "write() + fsync")
        everything = store.read(POINT).values
        copied = timed(everything.clone)
        line("read a hook point, warm", size, timed(lambda: store.read(POINT)), copied, "memcpy")
        shuffled = timed(lambda: sum(len(b) for b in store.batches(POINT, 2048)))
        line("shuffled batches, warm", size, shuffled, copied, "memcpy")
        moments = store.moments(POINT)
        for moment in moments[:10]:
            store.lookup(POINT, moment)
        wall, cpu, _ = timed(lambda: [store.lookup(POINT, m) for m in moments])
        print(f"lookup by coordinate         {1e6 * cpu / len(moments):6.1f} us CPU, {wall:.3f} s")


if __name__ == "__main__":
    main()
