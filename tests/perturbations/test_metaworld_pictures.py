"""Perturbations in a real simulator, given to a real policy."""

from __future__ import annotations

import pytest

from vlascope.loading import load
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, open_environments, run_episodes

pytestmark = pytest.mark.sim


def test_metaworlds_pictures_are_perturbed_and_reach_the_policy(tmp_path):
    pytest.importorskip("metaworld")
    policy, metaworld = load("tinyvla", "bundled"), BenchmarkSpec(name="metaworld")
    arms = {
        "plain": (),
        "cell": ({"kind": "occlusion", "cell": [2, 1]},),
        "stuck": ({"kind": "freeze_first"},),
        "both": ({"kind": "half_mask"}, {"kind": "noise", "severity": 0.2}),
    }
    plans = [
        EpisodePlan(arm=arm, task="drawer-open", seed=0, max_steps=24, perturbation=data or None)
        for arm, data in arms.items()
    ]
    with open_environments(metaworld, tmp_path / "logs", workers=1) as environments:
        shared = {"environments": environments, "progress": False}
        found = run_episodes(policy, metaworld, plans, tmp_path, **shared)
    plain, cell, stuck, both = found
    assert plain.perturbed is None
    for record in (cell, stuck, both):
        assert record.perturbed is not None
        assert record.perturbed.delivered == record.perturbed.looks > 1
    (covered,) = cell.perturbed.perturbations
    assert covered.changed == covered.pictures == cell.perturbed.altered
    (frozen,) = stuck.perturbed.perturbations
    assert frozen.changed == frozen.pictures - 1
    mask, noise = both.perturbed.perturbations
    assert 5 < mask.change < 127
    assert 5 < noise.change < 15
