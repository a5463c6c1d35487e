"""A physics simulator goes the recorded way again, and shows what was seen."""

import pytest
import torch

from vlascope import load
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.replay import open_dataset, record_dataset
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.store import ActivationStore

pytest.importorskip("metaworld")

pytestmark = [pytest.mark.sim, pytest.mark.slow]


def test_activations_replayed_in_metaworld_equal_those_recorded_live(tmp_path):
    policy, spec = load("tinyvla", "bundled"), RecordSpec(at="vlm.*.resid_post", pool="mean")
    plans = [
        EpisodePlan(arm="base", task=task, seed=3, max_steps=30)
        for task in ("door-open", "plate-slide")
    ]
    run_episodes(
        policy,
        BenchmarkSpec(name="metaworld"),
        plans,
        tmp_path / "run",
        record=spec,
        batch=1,
        workers=1,
        envs_per_worker=1,
        progress=False,
    )
    with open_dataset(str(tmp_path / "run")) as run:
        store = record_dataset(policy, run, tmp_path / "again", spec, batch=1, progress=False)
    live = ActivationStore.open(tmp_path / "run" / "activations")
    assert len(store.episodes()) == len(plans)
    for point in live.points:
        assert torch.equal(store.read(point).values, live.read(point).values)
