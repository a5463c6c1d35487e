"""Probe fitting on a million activations: memory and time, beside plain scikit-learn.

    python perf/probe_fitting.py                     # 1,000,000 x 512, ours
    python perf/probe_fitting.py --peer              # and scikit-learn on the same file
    python perf/probe_fitting.py --rows 100000       # smaller

Each side runs in a process of its own, which reads the same activation store and reports its peak
resident memory above what it held after its imports. Ours is the whole of it: five folds, nested
choice of the penalty, 19 control tasks, intervals. The peer loads all rows and fits one `Ridge` per
fold with one fixed penalty.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

POINT = "vlm.0.resid_post"
TARGETS = 4


def written(folder: Path, rows: int, width: int, episodes: int) -> None:
    """A store whose activations hold `TARGETS` numbers linearly, beside noise."""
    import torch

    from vlascope.hooks import HookPoint, Moment
    from vlascope.recording import RecordSpec
    from vlascope.store import ActivationStore, Entry, Provenance

    spec = RecordSpec(at=(POINT,))
    store = ActivationStore.create(
        folder, Provenance(adapter="made", checkpoint="up", checkpoint_hash="0", spec=spec)
    )
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((TARGETS, width)).astype(np.float32) / 10
    steps = rows // episodes
    for e in range(episodes):
        y = rng.standard_normal((steps, TARGETS)).astype(np.float32)
        x = y @ mixing + rng.standard_normal((steps, width)).astype(np.float32)
        name = f"a/t/{e}"
        entries = [
            Entry(Moment(name, s, s), (0,), None, torch.from_numpy(x[s : s + 1]))
            for s in range(steps)
        ]
        store.write(name, {HookPoint.parse(POINT): entries}, {name: {"task": "t"}})
        np.save(folder / f"{e}.npy", y)


def ours(folder: Path, episodes: int) -> dict[str, float]:
    """The streamed ridge, with everything a map's cell needs."""
    from vlascope.hooks import HookPoint
    from vlascope.store import ActivationStore
    from vlascope_probes.linear.fitting import fit_features
    from vlascope_probes.linear.options import ProbeOptions
    from vlascope_probes.linear.rows import StoredFeatures
    from vlascope_probes.linear.targets import Target

    before, start = peak(), time.perf_counter()
    tracks = {f"a/t/{e}": np.load(folder / f"{e}.npy").astype(float) for e in range(episodes)}
    targets = [
        Target(f"y.{i}", "regression", {n: t[:, i] for n, t in tracks.items()}, "track")
        for i in range(TARGETS)
    ]
    evidence = {n: SimpleNamespace(state={}, hand=None, steps=len(t)) for n, t in tracks.items()}
    options = ProbeOptions(held_out_tasks=False, memory_mb=1e-3)
    store = ActivationStore.open(folder, open_units=4)
    features = StoredFeatures(store, HookPoint.parse(POINT), list(tracks), options)
    scores = fit_features(features, POINT, targets, evidence, options)
    r2 = float(np.mean([s.score.value for s in scores if s.score.value is not None]))
    return {"seconds": time.perf_counter() - start, "mb": peak() - before, "r2": r2}


def peer(folder: Path, _: int) -> dict[str, float]:
    """All rows in memory, one scikit-learn Ridge per fold."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold

    from vlascope.store import ActivationStore

    before, start = peak(), time.perf_counter()
    rows = ActivationStore.open(folder).read(POINT)
    x, groups = rows.values.numpy(), rows.column("episode")
    y = np.concatenate([np.load(folder / f"{n.split('/')[-1]}.npy") for n in rows.episodes])
    r2 = []
    for train, test in GroupKFold(5).split(x, groups=groups):
        model = Ridge(alpha=1.0).fit(x[train], y[train])
        r2.append(r2_score(y[test], model.predict(x[test])))
    return {"seconds": time.perf_counter() - start, "mb": peak() - before, "r2": float(np.mean(r2))}


def peak() -> float:
    """Of resident memory, 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measured(side: str, folder: Path, episodes: int) -> dict[str, float]:
    """One side in a fresh process."""
    command = [sys.executable, __file__, "--side", side, "--store", str(folder)]
    done = subprocess.run(
        [*command, "--episodes", str(episodes)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write a store, measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--side", choices=["ours", "peer"])
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    if given.side:
        side = ours if given.side == "ours" else peer
        print(json.dumps(side(given.store, given.episodes)))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        written(store, given.rows, given.width, given.episodes)
        found: dict[str, object] = {"rows": given.rows, "width": given.width}
        found["data_mb"] = given.rows * given.width * 4 / 1e6
        found["ours"] = mine = measured("ours", store, given.episodes)
        if given.peer:
            found["scikit_learn"] = theirs = measured("peer", store, given.episodes)
            found["memory_ratio"] = round(theirs["mb"] / mine["mb"], 2)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
