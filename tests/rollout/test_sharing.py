"""An episode that two arms would play alike is played once."""

import pytest

from vlascope import load
from vlascope.interventions import Identity, ZeroAblate
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, Film, run_episodes
from vlascope.rollout.arrays import EpisodeArrays


@pytest.fixture(scope="module")
def policy():
    return load("toy", "bundled")


@pytest.fixture
def play(policy, tmp_path):
    def played(arm, instruction=None, **options):
        plan = EpisodePlan(arm=arm, task="shared/red", seed=3, instruction=instruction)
        (record,) = run_episodes(
            policy,
            BenchmarkSpec(name="toy"),
            [plan],
            tmp_path,
            workers=1,
            progress=False,
            **options,
        )
        return record

    return played


def test_a_second_arm_takes_what_the_first_has_played(play, tmp_path):
    first, second = play("first"), play("second")
    assert (first.shared, second.shared) == (None, "first/shared/red/3")
    assert second.plan.arm == "second"
    assert second.steps == first.steps > 0
    assert len(EpisodeArrays.load(tmp_path, second).actions) == second.steps
    assert play("second") == second
    assert play("third").shared == "first/shared/red/3"


def test_the_tasks_own_text_is_the_same_as_no_change(play):
    play("plain")
    assert play("told", "go to the red point").shared == "plain/shared/red/3"


@pytest.mark.parametrize(
    "different",
    [
        {"instruction": "go to the blue point"},
        {"interventions": (ZeroAblate(at="expert.1.mlp_out"),)},
        {"record": RecordSpec(at=("vlm.2.resid_post",))},
        {"film": Film(frames=2)},
        {"batch": 1},
    ],
)
def test_what_differs_is_played(play, different):
    play("plain")
    assert play("other", **different).shared is None


def test_a_recorded_episode_serves_an_arm_that_records_nothing(play):
    play("recorded", record=RecordSpec(at=("vlm.2.resid_post",)))
    assert play("plain").shared == "recorded/shared/red/3"


def test_shared_edits_keep_their_receipts(play):
    edit = (Identity(at="expert.1.mlp_out"),)
    first, second = play("first", interventions=edit), play("second", interventions=edit)
    assert second.shared == "first/shared/red/3"
    assert second.receipts == first.receipts
    assert second.receipts[0].edits > 0
