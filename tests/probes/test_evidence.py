"""An episode's evidence lines up with its states, and says when the outcome was settled."""

import numpy as np
import pytest

from vlascope.errors import FileMissing
from vlascope.loading import load
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope_probes.evidence import read_evidence


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    plans = [EpisodePlan(arm="base", task=t, seed=1) for t in ("unique/red", "shared/blue")]
    plans.append(EpisodePlan(arm="base", task="shared/blue", seed=2, max_steps=3))
    run_episodes(
        load("toy", "bundled"), BenchmarkSpec(name="toy"), plans, folder, progress=False, workers=1
    )
    return read_evidence(folder)


def test_every_array_has_a_row_per_state_and_actions_one_per_step(evidence):
    for name, episode in evidence.items():
        assert episode.episode == name
        rows = episode.steps + 1
        assert episode.actions.shape == (episode.steps, 2)
        assert episode.hand.shape == episode.velocity.shape == (rows, 3)
        assert episode.state["position"].shape == (rows, 2)
        assert all(track.shape == (rows, 3) for track in episode.objects.values())
        assert all(held.shape == (rows,) for held in episode.predicates.values())


def test_velocity_is_of_the_step_to_come_and_follows_the_action(evidence):
    episode = evidence["base/unique/red/1"]
    assert np.allclose(episode.velocity[:-1, :2], 0.1 * episode.actions.clip(-1, 1), atol=1e-6)
    assert np.isnan(episode.velocity[-1]).all()


def test_a_success_is_decided_when_its_condition_first_holds_and_a_failure_never(evidence):
    won, lost = evidence["base/shared/blue/1"], evidence["base/shared/blue/2"]
    assert won.predicates["shared/blue"].argmax() == won.decided_step == won.steps
    assert lost.record.success is False
    assert lost.decided_step is None


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileMissing, match="one policy's run"):
        read_evidence(tmp_path)
