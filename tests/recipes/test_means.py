"""Means are those of the recorded arm, call by call, and come back as edits that can be played."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from vlascope.analyses.means import Means
from vlascope.errors import MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions import ResampleAblate, parse_intervention
from vlascope.recording import ActivationCache, Captured, RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.store import ActivationStore, Where
from vlascope_adapters.toy.adapter import ToyAdapter

AT = ("vlm.0.mlp_out", "expert.*.resid_post")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, policy = tmp_path_factory.mktemp("means"), ToyAdapter.from_pretrained()
    for arm, prompt in (("baseline", None), ("other", "")):
        plans = [
            EpisodePlan(arm=arm, task="shared/red", seed=s, instruction=prompt, max_steps=8)
            for s in range(2)
        ]
        spec = RecordSpec(at=AT)
        toy = BenchmarkSpec(name="toy")
        run_episodes(policy, toy, plans, folder, record=spec, progress=False, workers=1)
    store = ActivationStore.open(folder / "activations")
    context = SimpleNamespace(
        adapter=policy,
        run_dir=folder,
        folder=folder,
        store=lambda: store,
        where=lambda arm: Where(episodes=(f"{arm}/*",)),
    )
    return store, Means(arms=("baseline",), at=AT).run(context)


def test_every_call_has_its_own_mean_of_the_arm_alone(run):
    store, result = run
    edits = result.edits["mean:expert.1.resid_post"]
    assert [edit["calls"] for edit in edits] == [[0], [1], [2], [3]]
    for call, edit in enumerate(edits):
        rows = store.read("expert.1.resid_post", Where(episodes=("baseline/*",), calls=[call]))
        (mean,) = parse_intervention(edit).means.values()
        torch.testing.assert_close(mean, rows.values.double().mean(0).float())


def test_positions_are_kept_apart_where_their_number_is_constant(run):
    store, result = run
    (edit,) = result.edits["mean_per_token:vlm.0.mlp_out"]
    (mean,) = parse_intervention(edit).means.values()
    third = store.read("vlm.0.mlp_out", Where(episodes=("baseline/*",), tokens=[3]))
    torch.testing.assert_close(mean[3], third.values.double().mean(0).float())


def test_a_glob_stands_for_the_edits_of_all_its_points(run):
    _, result = run
    points = ("expert.0.resid_post", "expert.1.resid_post")
    for what in ("mean", "resample"):
        joined = result.edits[f"{what}:expert.*.resid_post"]
        assert joined == tuple(e for p in points for e in result.edits[f"{what}:{p}"])


def test_dead_points_are_named(run):
    assert "vlm.3.resid_post" in run[1].data["dead"]


def cache(**lengths):
    """Episodes of so many chunks, each value saying whose it is."""
    point, found = HookPoint.parse("vlm.0.mlp_out"), ActivationCache({})
    for i, (name, chunks) in enumerate(lengths.items()):
        for c in range(chunks):
            moment = Moment(name.replace("_", "/"), 2 * c, c, 0)
            value = torch.full((1, 2), float(10 * i + c))
            found.add(Captured(Firing(point, 0, (moment,), ()), (value,), ((0,),)))
    return found


def resampled(edit, episode, chunk):
    point = HookPoint.parse("vlm.0.mlp_out")
    firing = Firing(point, 0, (Moment(episode, 2 * chunk, chunk, 0),), ())
    return float(edit.edit(torch.zeros(1, 1, 2), firing)[0, 0, 0])


def test_a_donor_is_another_task_or_seed_of_the_arms_named():
    source = cache(base_a_1=3, base_b_1=3, edited_c_1=3)
    edit = ResampleAblate(at="vlm.0.mlp_out", source=source, donors=("base/*",))
    assert resampled(edit, "cut/a/1", 2) == 12
    assert resampled(edit, "cut/b/1", 1) == 1


def test_a_donor_that_is_over_is_refused_or_gives_its_last_moment():
    source = cache(base_a_1=5, base_b_1=2)
    strict = ResampleAblate(at="vlm.0.mlp_out", source=source)
    with pytest.raises(MisalignedActivations, match="no other episode"):
        resampled(strict, "cut/a/1", 4)
    late = ResampleAblate(at="vlm.0.mlp_out", source=source, late="last")
    assert resampled(late, "cut/a/1", 4) == 11
