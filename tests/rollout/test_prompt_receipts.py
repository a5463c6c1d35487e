"""A changed instruction is known to have reached the policy, or the arm is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlascope.errors import EditMisfired
from vlascope.interventions import Identity
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.rollout.flight import Flight
from vlascope.rollout.prompts import LEAST_CHANGE, reach
from vlascope_adapters.toy.adapter import ToyAdapter

TOY = BenchmarkSpec(name="toy")


class Deaf(ToyAdapter):
    """Reads the same words whatever it is told."""

    def predict_chunk(self, observations, *, generators):
        same = [replace(o, instruction="go to the red point") for o in observations]
        return super().predict_chunk(same, generators=generators)


def plan(task, instruction):
    return EpisodePlan(arm="told", task=task, seed=1, instruction=instruction)


def play(adapter, plans, folder, **more):
    return run_episodes(adapter, TOY, plans, folder, progress=False, workers=1, **more)


def test_every_inference_of_a_changed_prompt_is_counted(tmp_path):
    policy = ToyAdapter.from_pretrained()
    plans = [plan("shared/red", "go to the blue point"), plan("unique/red", None)]
    changed, own = play(
        policy, plans, tmp_path, interventions=[Identity(at="vlm.*.resid_post", tokens=None)]
    )
    assert own.prompt is None
    receipt = changed.prompt
    assert receipt is not None
    assert receipt.inferences == receipt.carried == -(-changed.steps // 2) > 1
    assert receipt.reached is not None
    assert receipt.reached > 0.05
    assert "vlm.0.resid_pre" in receipt.at
    assert not any(at.startswith("vision") for at in receipt.at)


def test_a_policy_that_never_reads_the_change_fails_the_arm_before_a_rollout(tmp_path):
    deaf = Deaf.from_pretrained()
    with pytest.raises(EditMisfired, match=r"told/shared/red/1: .* never reaches toy"):
        play(deaf, [plan("shared/red", "go to the blue point")], tmp_path)
    assert not list(tmp_path.glob("episodes/*"))


def test_words_the_policy_cannot_tell_apart_do_not_count_as_changed():
    policy = ToyAdapter.from_pretrained()
    assert reach(policy, "sing the song", "hum the tune").lost
    assert not reach(policy, "sing the song", "").lost
    assert reach(policy, "go to the red point", "go to the red point").change == 0


def test_an_observation_that_lost_the_change_is_refused(tmp_path, monkeypatch):
    honest = Flight.see

    def forgetful(self, step, observation, *more):
        honest(self, step, observation, *more)
        if step > 2:
            self.observation = observation

    monkeypatch.setattr(Flight, "see", forgetful)
    with pytest.raises(EditMisfired, match="observations carried the changed instruction"):
        play(ToyAdapter.from_pretrained(), [plan("shared/red", "")], tmp_path)


def test_a_policy_without_language_is_not_asked(monkeypatch):
    policy = ToyAdapter.from_pretrained()
    stacks = tuple(replace(p, mixes=("image",)) for p in policy.info.pathways)
    policy.info = replace(policy.info, pathways=stacks)
    monkeypatch.setattr(ToyAdapter, "token_spans", lambda *_args, **_more: {})
    assert reach(policy, "go", "").change is None
    assert LEAST_CHANGE > 0
