"""A prompt that changes in the middle of an episode, on the policy that does what it is told."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from vlascope.errors import StudyFileError
from vlascope.records import EpisodePlan, PromptSwitch
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.ledger import read_episodes
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

STUDY = {
    "name": "switch",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["shared/red"],
    "seeds": "0-1",
    "workers": 1,
    "max_steps": 40,
    "pairings": {"green": {"shared/red": "shared/green"}},
    "arms": {"baseline": {}, "switched": {"prompt": {"task": "green", "from_step": 3}}},
}


def written(folder: Path, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return load_study(path)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("switch")
    assert run_study(written(folder), folder / "run", progress=False).ok
    records = read_episodes(folder / "run" / "toy")
    return folder / "run" / "toy", {(r.plan.arm, r.plan.seed): r for r in records}


def test_the_robot_goes_its_way_until_the_switch_and_then_to_the_other_goal(played):
    run_dir, records = played
    for seed in (0, 1):
        own, switched = records["baseline", seed], records["switched", seed]
        paths = [EpisodeArrays.load(run_dir, r)["end_effector"] for r in (own, switched)]
        assert np.array_equal(paths[0][:5], paths[1][:5])
        assert not np.allclose(paths[0][:8], paths[1][:8])
        assert "shared/green" in switched.predicates
        assert "shared/green" not in own.predicates


def test_the_receipt_says_when_the_policy_was_first_told(played):
    _, records = played
    receipt = records["switched", 0].prompt
    assert receipt is not None
    assert receipt.switched_at == 4  # chunks begin at even steps
    assert receipt.carried == receipt.inferences
    assert receipt.reached is not None
    assert receipt.reached > 0
    assert records["baseline", 0].prompt is None


def test_a_plan_without_a_switch_keeps_the_digest_it_always_had():
    plan = EpisodePlan(arm="a", task="t", seed=0)
    assert "switch" not in plan.model_dump_json(exclude={"switch"})
    other = plan.model_copy(update={"switch": PromptSwitch(step=3, instruction="x")})
    assert plan.digest() != other.digest()


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"prompt": {"task": "green", "from_step": 40}}, "past the episode's end"),
        ({"prompt": {"paraphrase": 1, "from_step": 4}}, "needs `task: PAIRING`"),
        (
            {"interventions": [{"kind": "identity", "at": "vlm.0.resid_post", "steps": [50, 60]}]},
            "begins at step 50, past the episode's end",
        ),
        (
            {"interventions": [{"kind": "identity", "at": "vlm.0.resid_post", "steps": [9, 9]}]},
            "is empty",
        ),
    ],
)
def test_windows_that_never_come_are_refused_at_their_line(tmp_path, arm, said):
    with pytest.raises(StudyFileError, match=said) as refused:
        written(tmp_path, arms={"baseline": {}, "late": arm})
    assert "study.yaml:" in str(refused.value)
