"""Whether reading an activation store can keep up with SAE training steps.

    python perf/sae_loader.py [--json] [--shape 512 4096 32 2048] [--rounds 8]

A float16 store is written to a temporary folder; its rows are read as training reads them (random
blocks into a buffer, random rows out of it, outliers dropped, float32 at the end) in turn with
steps of a TopK autoencoder on the rows just read. Rates are rows per CPU second at one thread; the
ratio is the loader's rate over the step's, and above 1 a loader in the background never keeps
training waiting. The last line is JSON; with --json the only one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from vlascope.hooks import HookPoint, Moment
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
from vlascope_sae.architectures.topk import TopKConfig
from vlascope_sae.training import DatasetSpec, StoreSource, TrainingSpec
from vlascope_sae.training.group import Group
from vlascope_sae.training.site import Site
from vlascope_sae.training.source import without_outliers

SHAPES = [(512, 4096, 32, 2048), (960, 7680, 64, 4096)]
POINT = HookPoint("expert", 0, "resid_post")
TOKENS, UNITS, ROWS = 64, 8, 16384


def written(folder: Path, width: int) -> ActivationStore:
    provenance = Provenance(
        adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*")
    )
    store = ActivationStore.create(folder, provenance)
    for unit in range(UNITS):
        values = torch.randn(ROWS // TOKENS, TOKENS, width).half()
        rows = [
            Entry(Moment(f"e{unit}", k, k), tuple(range(TOKENS)), None, v)
            for k, v in enumerate(values)
        ]
        store.write(f"e{unit}", {POINT: rows})
    return store


def measure(d: int, d_sae: int, k: int, batch: int, rounds: int, folder: Path) -> dict[str, object]:
    """Rows per CPU second of both, alternating; each round reads one whole buffer's worth."""
    source = StoreSource(written(folder, d), POINT, DatasetSpec(validation=0.125))
    spec = TrainingSpec(samples=10**9, batch_size=batch, device="cpu", sample_rows=8192)
    config = TopKConfig(d_in=d, d_sae=d_sae, k=k)
    site = Site.of(source, {"topk": config}, spec, torch.device("cpu"), Group())
    site.initialise()
    stream = source.stream(batch)
    per_round = max(1, 65536 // batch)
    next(stream)
    loading, stepping = [], []
    for _ in range(rounds):
        whole = time.process_time()
        batches = [
            without_outliers(taken, site.limit, source.name) for taken in islice(stream, per_round)
        ]
        few = batches[:2]
        start = time.thread_time()  # the thread that fills buffers is the loader's
        for ready in few:
            site.trainees[0].step(ready, whole=len(ready.x), progress=0.5)
        stepped = time.thread_time() - start
        stepping.append(stepped / (len(few) * batch))
        loading.append((time.process_time() - whole - stepped) / (per_round * batch))
    ratios = [step / load for load, step in zip(loading[1:], stepping[1:], strict=True)]
    return {
        "shape": [d, d_sae, k, batch],
        "loader_rows_per_second": round(1 / median(loading[1:])),
        "step_rows_per_second": round(1 / median(stepping[1:])),
        "ratio": round(median(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=4, metavar=("D", "F", "K", "BATCH"))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for shape in [tuple(args.shape)] if args.shape else SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(*shape, args.rounds, Path(folder)))
        if not args.json:
            line = found[-1]
            print(
                f"{shape}: loader {line['loader_rows_per_second']:,} rows/s, step "
                f"{line['step_rows_per_second']:,} rows/s, ratio {line['ratio']}"
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
