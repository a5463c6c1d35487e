"""On the toy policy, whose weights are written by hand, probes find what is there and no more."""

import numpy as np
import pytest

from vlascope.errors import UnknownName, UnusableActivations
from vlascope.loading import load
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.store import ActivationStore
from vlascope_probes.evidence import read_evidence
from vlascope_probes.linear.fitting import fit_map
from vlascope_probes.linear.options import ProbeOptions

SHARED = ("shared/red", "shared/green", "shared/blue")
POINTS = ("vision.*.resid_post", "vlm.*.resid_post", "expert.*.resid_post")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    plans = [
        EpisodePlan(arm="base", task=task, seed=seed)
        for task in (*SHARED, "unique/red")
        for seed in range(24 if task == "unique/red" else 12)
    ]
    run_episodes(
        load("toy", "bundled"),
        BenchmarkSpec(name="toy"),
        plans,
        folder,
        record=RecordSpec(at=POINTS),
        progress=False,
        workers=1,
        envs_per_worker=8,
    )
    return ActivationStore.open(folder / "activations"), read_evidence(folder)


def probed(recording, points, targets, tasks, **options):
    store, evidence = recording
    some = {n: e for n, e in evidence.items() if e.record.plan.task in tasks}
    options = {"label_controls": 3, "held_out_tasks": False, "folds": 3, **options}
    return fit_map(store, some, points, ProbeOptions(targets=targets, **options))


def test_the_asked_colour_is_read_off_the_soft_prompt_from_layer_one_on_and_not_before(recording):
    found = probed(recording, "vlm.*.resid_post", "task", SHARED, tokens="soft_prompt")
    scores = [found.at(f"vlm.{i}.resid_post", "task").score.value for i in range(4)]
    assert scores[0] < 0.5
    assert min(scores[1:]) > 0.99
    late = found.at("vlm.1.resid_post", "task")
    assert late.score.n == 36
    assert late.selectivity > 0.4
    assert late.raw_state < 0.6


def test_the_asked_colour_is_nowhere_in_vision(recording):
    found = probed(recording, "vision.*.resid_post", "instruction", SHARED, pool="mean")
    for score in found.scores:
        assert score.score.low < score.chance + 0.1
        assert score.score.value < 0.55
        assert score.control_best >= score.score.value - 0.2


def test_the_point_itself_is_read_off_the_state_token_and_flagged_as_an_input(recording):
    found = probed(recording, "vlm.*.resid_post", "hand.[xy]", SHARED, tokens="state")
    for score in found.scores:
        assert score.score.value > 0.99
        assert score.p == pytest.approx(1 / 20)
    assert any(
        "from outside this pathway" in f for f in found.at("vlm.0.resid_post", "hand.x").flags
    )
    assert "no better than the raw state alone" in found.at("vlm.2.resid_post", "hand.y").flags


def test_the_goal_reaches_the_soft_prompt_at_layer_two(recording):
    found = probed(
        recording, "vlm.*.resid_post", "object.goal.red.[xy]", ("unique/red",), tokens="soft_prompt"
    )
    for axis in "xy":
        scores = [
            found.at(f"vlm.{i}.resid_post", f"object.goal.red.{axis}").score.value for i in range(4)
        ]
        assert max(scores[:2]) < 0.2
        assert min(scores[2:]) > 0.99


def test_the_next_action_is_read_off_the_expert_better_than_off_the_raw_state(recording):
    found = probed(recording, "expert.*.resid_post", "action.*", SHARED, tokens="action")
    for score in (s for s in found.scores if s.point == "expert.1.resid_post"):
        assert score.score.value > 0.9
        assert score.score.low > score.raw_state
        assert score.flags == ()


def test_a_target_that_does_not_vary_is_refused_by_name_before_anything_is_fitted(recording):
    with pytest.raises(UnusableActivations, match=r"'task' does not vary: it is 'unique/red'"):
        probed(recording, "vlm.0.resid_post", "task", ("unique/red",))
    with pytest.raises(UnusableActivations, match=r"'hand.z' does not vary: it is 0 "):
        probed(recording, "vlm.0.resid_post", ("hand.z",), SHARED)
    skipping = probed(recording, "vlm.0.resid_post", "hand.*", SHARED, tokens="state")
    assert skipping.targets == ["hand.x", "hand.y"]
    assert "does not vary" in skipping.skipped["hand.z"]


def test_names_that_stand_for_nothing_list_what_there_is(recording):
    with pytest.raises(UnknownName, match=r"velocity\.x"):
        probed(recording, "vlm.0.resid_post", "velocty.x", SHARED)
    with pytest.raises(UnusableActivations, match="soft_prompt"):
        probed(recording, "vlm.0.resid_post", "hand.x", SHARED, tokens="soft_promt")
    with pytest.raises(UnknownName, match="resid_post"):
        probed(recording, "vlm.9.resid_post", "hand.x", SHARED)


def test_streamed_rows_give_what_held_rows_give(recording):
    targets = ("action.*", "steps_to_go")
    held = probed(recording, "vlm.2.resid_post", targets, SHARED, tokens="soft_prompt")
    streamed = probed(
        recording, "vlm.2.resid_post", targets, SHARED, tokens="soft_prompt", memory_mb=1e-6
    )
    for one, other in zip(streamed.scores, held.scores, strict=True):
        assert one.score.value == pytest.approx(other.score.value, abs=1e-9)
        assert one.score.low == pytest.approx(other.score.low, abs=1e-9)
        assert one.control == pytest.approx(other.control, abs=1e-9)


def test_labels_are_streamed_too(recording):
    found = probed(
        recording,
        "vlm.2.resid_post",
        "task",
        SHARED,
        tokens="soft_prompt",
        memory_mb=1e-6,
        folds=2,
        label_controls=1,
    )
    assert found.scores[0].score.value > 0.99


def test_a_map_is_its_json(recording, tmp_path):
    from vlascope_probes.linear.results import read_map

    found = probed(recording, "vlm.[01].resid_post", "phase", SHARED)
    (tmp_path / "probes.json").write_text(found.model_dump_json())
    assert read_map(tmp_path / "probes.json") == found
    assert np.isfinite([row["score"] for row in found.table()]).all()
