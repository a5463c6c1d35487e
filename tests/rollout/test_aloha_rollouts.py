"""ACT plays ALOHA in a worker process, at the size it is trained at; the run replays to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from vlascope.errors import IncompatibleError
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, EpisodeArrays, run_episodes

pytest.importorskip("gym_aloha")
pytest.importorskip("lerobot")
pytestmark = [pytest.mark.sim, pytest.mark.slow]


@pytest.fixture(scope="module")
def act():
    """ACT with a narrow backbone and random weights, for ALOHA's robot."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.act.processor_act import make_act_pre_post_processors

    from vlascope_adapters.lerobot import tiny
    from vlascope_adapters.lerobot.act import ACTAdapter, _narrow_backbone
    from vlascope_adapters.lerobot.policy import Processors
    from vlascope_adapters.robots import ROBOTS

    robot, view, state = ROBOTS["aloha"], "observation.images.top", "observation.state"
    config = ACTConfig(
        input_features={
            view: PolicyFeature(FeatureType.VISUAL, (3, 480, 640)),
            state: PolicyFeature(FeatureType.STATE, (14,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
        device="cpu",
        vision_backbone="resnet_tiny",
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        chunk_size=10,
        n_action_steps=10,
    )
    with tiny.seeded(0), _narrow_backbone():
        policy = ACTPolicy(config)
    import torch

    rest = torch.tensor([0, -0.96, 1.16, 0, -0.3, 0, 0.1] * 2)
    numbers = {"mean": rest, "std": torch.full((14,), 0.2)}
    picture = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
    statistics = {"action": numbers, state: numbers, view: picture}
    processors = Processors(*make_act_pre_post_processors(config, statistics))
    return ACTAdapter(policy, processors, robot, "random weights")


def test_act_plays_both_tasks_and_the_run_replays_to_the_bit(act, tmp_path) -> None:
    aloha = BenchmarkSpec(name="aloha", options={})
    kept = []
    for arm in ("a", "b"):
        plans = [
            EpisodePlan(arm=arm, task=task, seed=3, max_steps=20)
            for task in ("transfer-cube", "insertion")
        ]
        kept.append(run_episodes(act, aloha, plans, tmp_path, workers=1, batch=1, progress=False))
    for one, other in zip(*kept, strict=True):
        assert (one.status, one.steps) == (other.status, 20) == ("ok", 20)
        a, b = (EpisodeArrays.load(tmp_path, record) for record in (one, other))
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert a["action"].shape == (20, 14)
        assert {"end_effector", "end_effector.left", "end_effector.right"} < set(a)
        assert set(a.objects) in ({"cube"}, {"peg", "socket"})
    assert {"gym-aloha", "mujoco"} <= kept[0][0].versions.keys()


def test_a_policy_trained_with_shadows_is_refused_without_them(act, tmp_path) -> None:
    fast = BenchmarkSpec(name="aloha", options={"render": "fast"})
    plan = EpisodePlan(arm="a", task="insertion", seed=0, max_steps=5)
    with pytest.raises(IncompatibleError, match="camera-render"):
        run_episodes(act, fast, [plan], tmp_path, workers=1, progress=False)
