"""GR00T N1.7 base models in NVIDIA's own layout, against lerobot's own way of loading them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.groot import groot_n1_7
from lerobot.policies.groot.configuration_groot import GrootConfig
from lerobot.policies.groot.modeling_groot import GrootPolicy
from lerobot.policies.groot.processor_groot import make_groot_pre_post_processors

from vlascope.errors import CapabilityMissing, CorruptFile, IncompatibleError
from vlascope.noise import generator_for
from vlascope_adapters.lerobot import groot_tiny, tiny
from vlascope_adapters.lerobot.groot import GrootAdapter
from vlascope_adapters.robots import ROBOTS

LIBERO = ROBOTS["libero"].seen_at(96)
ARM, TURN, GRIP = ("x", "y", "z"), ("roll", "pitch", "yaw"), "gripper"


def load(folder, backbone, **options):
    wanted = {"robot": LIBERO, "tokenizer": backbone, **options}
    return GrootAdapter.from_pretrained(str(folder), **wanted)


def numbers(seed, *shape):
    low = np.random.default_rng(seed).uniform(-1, 0, shape)
    bounds = {
        "min": low,
        "max": low + 1,
        "q01": low + 0.1,
        "q99": low + 0.9,
        "mean": low,
        "std": low,
    }
    return {name: value.tolist() for name, value in bounds.items()}


def native(folder, *, relative=False, kind="NON_EEF"):
    """A base model in NVIDIA's own layout, for LIBERO's robot, and the folder of its backbone."""
    backbone = groot_tiny.write_backbone(folder)
    with tiny.seeded(5):
        network = groot_n1_7.GR00TN17(groot_tiny.network(backbone), load_backbone_weights=False)
        for weight in network.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    network.save_pretrained(folder)
    keys = (*ARM, *TURN, GRIP)
    state = {key: numbers(i, 2 if key == GRIP else 1) for i, key in enumerate(keys)}
    stats = {
        "state": state,
        "action": {key: numbers(10 + i, 1) for i, key in enumerate(keys)},
        "relative_action": {key: numbers(20 + i, 6, 1) for i, key in enumerate(ARM)},
    }
    reps = [{"rep": "RELATIVE" if relative and key in ARM else "ABSOLUTE"} for key in keys]
    shared = {"type": kind, "format": "DEFAULT", "state_key": None}
    modality = {
        "video": {"modality_keys": ["image", "wrist_image"], "delta_indices": [-1, 0]},
        "state": {"modality_keys": list(keys)},
        "action": {
            "modality_keys": list(keys),
            "action_configs": [rep | shared for rep in reps],
            "delta_indices": list(range(6)),
        },
    }
    processor = {
        "modality_configs": {"libero_sim": modality},
        "use_percentiles": True,
        "use_relative_action": relative,
        "image_target_size": [96, 96],
        "image_crop_size": [86, 86],
    }
    (folder / "processor_config.json").write_text(json.dumps({"processor_kwargs": processor}))
    (folder / "statistics.json").write_text(json.dumps({"libero_sim": stats}))
    (folder / "embodiment_id.json").write_text(json.dumps({"libero_sim": 2}))
    return backbone


def upstream(folder, backbone, policy):
    """The same base model as lerobot itself loads it, and its pipelines."""
    config = GrootConfig(
        base_model_path=str(folder),
        embodiment_tag="libero_sim",
        input_features=dict(policy.config.input_features),
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
        max_state_dim=8,
        max_action_dim=8,
        use_bf16=False,
        device="cpu",
    )
    pipelines = make_groot_pre_post_processors(config)
    groot_tiny.see_small(pipelines[0], backbone)
    return GrootPolicy(config).eval(), *pipelines


@pytest.mark.parametrize("relative", [False, True])
def test_a_base_model_acts_as_lerobot_loads_it(tmp_path, monkeypatch, relative):
    backbone = native(tmp_path, relative=relative)
    policy = load(tmp_path, backbone)
    assert (policy.info.horizon, policy.info.executed_steps) == (6, 6)
    streams = list(policy.token_spans([policy.example_observation(0)])["vision"][0])
    assert streams == [f"image.{c}{p}" for p in (".past1", "") for c in ("agentview", "wrist")]
    seen = [policy.example_observation(seed) for seed in range(2)]
    both = [generator_for(0, row) for row in range(2)]
    ours = policy.infer(seen, generators=both).actions
    model, before, after = upstream(tmp_path, backbone, policy)
    for row, scene in enumerate(seen):
        noise = policy.noise([generator_for(0, row)])
        raw = {view: policy._pixels(scene, camera)[None] for view, camera in policy.views.items()}
        raw["observation.state"] = torch.from_numpy(LIBERO.state_vector(scene))[None]
        batch = before({**raw, "task": [scene.instruction]})
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn", lambda noise=noise, **_asked: noise)
            wanted = after(model.predict_action_chunk(batch))
        alone = policy.infer([scene], generators=[generator_for(0, row)]).actions
        assert np.array_equal(alone, wanted.numpy())
        np.testing.assert_allclose(ours[row], alone[0], atol=1e-5)
    assert set(np.unique(ours[..., 6])) <= {-1.0, 0.0, 1.0}  # LIBERO's gripper


def test_gradients_go_through_a_base_models_decoder_where_they_can(tmp_path):
    backbone = native(tmp_path)
    policy = load(tmp_path, backbone)
    seen, kept = [policy.example_observation(0)], []

    def leaf(value):
        kept.append(value.detach().clone().requires_grad_())
        return kept[-1]

    handles = policy.tap(policy.match("expert.action_head")[0]).attach(policy.model, leaf)
    actions = policy.differentiable_actions(seen, generators=[generator_for(0)])
    for handle in handles:
        handle.remove()
    assert np.array_equal(actions.detach().numpy(), policy.infer(seen).actions)
    (gradient,) = torch.autograd.grad(actions.sum(), kept[-1])
    bounds = json.loads((tmp_path / "statistics.json").read_text())["libero_sim"]["action"]["y"]
    low, high = bounds["q01"][0], bounds["q99"][0]
    inside = (actions[0, :, 1] > low + 0.01) & (actions[0, :, 1] < high - 0.01)
    wanted = 0.25 * (high - low) / 2 * inside  # the last of four steps, as far as nothing is cut
    assert 0 < inside.sum() < len(inside)
    torch.testing.assert_close(gradient[0, 1:7, 1], wanted.float(), rtol=1e-3, atol=1e-4)
    assert gradient[0, :, 6].abs().max() == 0  # LIBERO's gripper is a sign
    native(tmp_path, relative=True, kind="EEF")
    poses = load(tmp_path, backbone)
    with pytest.raises(CapabilityMissing, match="relative end-effector poses"):
        poses.differentiable_actions(seen, generators=[generator_for(0)])


def test_a_base_model_says_which_embodiments_it_speaks_for(tmp_path):
    backbone = native(tmp_path)
    with pytest.raises(IncompatibleError, match=r"speaks for libero_sim.*'gr1' is none of them"):
        load(tmp_path, backbone, embodiment="gr1")
    broken = json.loads((tmp_path / "processor_config.json").read_text())
    del broken["processor_kwargs"]["modality_configs"]["libero_sim"]["video"]
    (tmp_path / "processor_config.json").write_text(json.dumps(broken))
    with pytest.raises(CorruptFile, match="names no pictures for 'libero_sim'"):
        load(tmp_path, backbone)


def test_a_robot_with_another_state_is_refused(tmp_path):
    backbone = native(tmp_path)
    stats = json.loads((tmp_path / "statistics.json").read_text())
    stats["libero_sim"]["state"][GRIP] = numbers(0, 1)
    (tmp_path / "statistics.json").write_text(json.dumps(stats))
    with pytest.raises(IncompatibleError, match="takes a state of 7 numbers for 'libero_sim'"):
        load(tmp_path, backbone)
