"""X-VLA on LIBERO: played as upstream's evaluation plays it, from the hub's own pipelines."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("transformers")

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.policies.xvla.processor_xvla import (
    make_xvla_libero_pre_post_processors,
    make_xvla_pre_post_processors,
)
from lerobot.utils.constants import ACTION
from scipy.spatial.transform import Rotation

from vlascope.errors import IncompatibleError
from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.xvla import XVLAAdapter
from vlascope_adapters.lerobot.xvla_built import TINY, tiny_tokenizer
from vlascope_adapters.lerobot.xvla_processing import axis_angle
from vlascope_adapters.robots import ROBOTS

VIEWS = ("observation.images.image", "observation.images.image2")
LEFT_TO_THE_ENVIRONMENT = ("xvla_image_to_float", "xvla_imagenet_normalize")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A LIBERO checkpoint with the steps that the hub's pipelines have, and its policy."""
    folder = tmp_path_factory.mktemp("xvla") / "xvla-libero-tiny"
    picture = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    config = XVLAConfig(
        input_features=dict.fromkeys(VIEWS, picture)
        | {"observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (20,))},
        **TINY,
    )
    with tiny.seeded(5):
        upstream = XVLAPolicy(config).eval()
    upstream.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    config.tokenizer_name = str(folder)
    for pipeline in make_xvla_pre_post_processors(config):
        pipeline.save_pretrained(folder)
    path = folder / "policy_preprocessor.json"
    saved = json.loads(path.read_text())
    saved["steps"] = [
        {**step, "config": {"domain_id": 3}} if "domain" in step["registry_name"] else step
        for step in saved["steps"]
        if step["registry_name"] not in LEFT_TO_THE_ENVIRONMENT
    ]
    path.write_text(json.dumps(saved))
    return folder, upstream


@pytest.fixture(scope="module")
def libero(written):
    return XVLAAdapter.from_pretrained(str(written[0]))


def draw(n):
    return [generator_for(3, i) for i in range(n)]


def as_the_simulator_says(observation):
    """What upstream's evaluation starts from: pictures as rendered, a matrix for the site."""
    turned = {
        view: torch.from_numpy(observation.images[camera][::-1, ::-1].copy()).permute(2, 0, 1) / 255
        for view, camera in zip(VIEWS, ("agentview", "wrist"), strict=True)
    }
    first, second = observation.state["site_columns"].reshape(2, 3)
    matrix = np.stack([first, second, np.cross(first, second)], axis=-1)
    pose = {"pos": observation.state["eef_position"], "mat": matrix}
    state = {"eef": {key: torch.from_numpy(value)[None] for key, value in pose.items()}}
    pictures = {view: picture[None] for view, picture in turned.items()}
    return {**pictures, "observation.robot_state": state, "task": [observation.instruction]}


def test_libero_is_played_as_upstream_plays_it(libero, written, monkeypatch):
    folder, upstream = written
    assert libero.robot.name == "libero_absolute"
    assert libero.info.action.control == "ee_absolute"
    assert all(camera.upright for camera in libero.info.cameras.values())
    added = "XVLAImageNetNormalizeProcessorStep, XVLARotation6DToAxisAngleProcessorStep"
    assert libero.info.notes == {"domain_id": "3", "added_steps": added}
    seen = [libero.example_observation(seed) for seed in range(2)]
    ours = libero.infer(seen, generators=draw(2)).actions
    around = make_xvla_libero_pre_post_processors()
    own = make_pre_post_processors(upstream.config, pretrained_path=str(folder))
    for row, observation in enumerate(seen):
        batch = own[0](around[0](as_the_simulator_says(observation)))
        noise = libero.noise(draw(2)[row : row + 1])
        with monkeypatch.context() as patched:
            patched.setattr(torch, "randn", lambda *_, noise=noise, **__: noise)
            poses = upstream.predict_action_chunk(batch)[0]
        wanted = around[1]({ACTION: own[1](poses)})[ACTION].numpy()
        np.testing.assert_allclose(ours[row, :, :3], wanted[:, :3], atol=1e-5)
        apart = Rotation.from_rotvec(ours[row, :, 3:6]) * Rotation.from_rotvec(wanted[:, 3:6]).inv()
        assert apart.magnitude().max() < 1e-3
        assert np.array_equal(ours[row, :, 6], wanted[:, 6])


def test_differentiable_actions_are_the_played_ones(libero):
    seen = [libero.example_observation(1)]
    played = libero.infer(seen, generators=draw(1)).actions[0]
    with torch.no_grad():
        ours = libero.differentiable_actions(seen, generators=draw(1))[0].numpy()
    np.testing.assert_allclose(ours[:, [0, 1, 2, 6]], played[:, [0, 1, 2, 6]], atol=1e-5)
    apart = Rotation.from_rotvec(ours[:, 3:6]) * Rotation.from_rotvec(played[:, 3:6]).inv()
    assert apart.magnitude().max() < 1e-3


def test_gradients_are_those_of_a_small_change(libero):
    seen = [libero.example_observation(2)]
    point = libero.match("vlm.0.resid_post")[0]
    leaf = capture(libero, seen, str(point)).stack(str(point))[0].clone().requires_grad_()
    step = torch.randn(leaf.shape, generator=generator_for(2)) * 1e-3

    def actions(value):
        handles = libero.tap(point).attach(libero.model, lambda _: value)
        try:
            return libero.differentiable_actions(seen, generators=draw(1))[..., :6].sum()
        finally:
            for handle in handles:
                handle.remove()

    (gradient,) = torch.autograd.grad(actions(leaf), leaf)
    with torch.no_grad():
        change = actions(leaf + step) - actions(leaf - step)
    torch.testing.assert_close(change / 2, (gradient * step).sum(), rtol=2e-2, atol=1e-5)


def test_rotations_are_those_of_scipy_also_near_half_a_turn(libero):
    axes = Rotation.random(64, random_state=0).as_rotvec()
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    angles = np.concatenate([np.linspace(0.01, 3.1, 48), np.pi - np.logspace(-6, -2, 16)])
    given = Rotation.from_rotvec(axes * angles[:, None])
    columns = given.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(64, 6)
    poses = np.zeros((64, 20), np.float32)
    poses[:, 3:9], poses[32:, 9] = columns, 1.0
    upstream = libero.processors.after(torch.from_numpy(poses)).numpy()
    assert (upstream[:, 6] == np.where(poses[:, 9] > 0.5, 1, -1)).all()
    for vectors in (upstream[:, 3:6], axis_angle(torch.from_numpy(poses[:, 3:9])).numpy()):
        assert (Rotation.from_rotvec(vectors) * given.inv()).magnitude().max() < 2e-3
    assert axis_angle(torch.tensor([[1.0, 0, 0, 0, 1, 0]])).abs().max() < 1e-5


def test_views_of_a_row_are_its_tokens_one_view_after_another(libero):
    seen = [libero.example_observation(seed) for seed in range(2)]
    with libero.record(["vision.2.resid_pre", "vision.projector", "trunk.*"]) as cache:
        libero.infer(seen)
    spans = libero.token_spans(seen)
    assert list(spans["vision.2"][0].pairs().values()) == [(0, 64), (64, 128)]
    blind = [
        replace(o, images={**o.images, "wrist": np.zeros_like(o.images["wrist"])}) for o in seen
    ]
    with libero.record(["vision.2.resid_pre"]) as other:
        libero.infer(blind)
    same = cache.stack("vision.2.resid_pre") == other.stack("vision.2.resid_pre")
    assert same[:, :, spans["vision.2"][0]["image.agentview"]].all()
    assert not same[:, :, spans["vision.2"][0]["image.wrist"]].all(-1).any()
    names = ["action", "image.agentview", "instruction", "padding", "image.wrist"]
    assert list(spans["trunk"][0]) == [*names, "empty_view", "soft_prompt"]
    wrist = cache.stack("vision.projector")[0][:, spans["vision.projector"][0]["image.wrist"]]
    seen_by_trunk = libero.model.model.transformer.aux_visual_proj(wrist)
    torch.testing.assert_close(
        cache.stack("trunk.aux_visual_proj")[0][:, : wrist.shape[1]], seen_by_trunk
    )


def test_a_view_taken_out_of_the_config_stays_empty(written, tmp_path, libero):
    folder = shutil.copytree(written[0], tmp_path / "xvla-libero-blind")
    config = json.loads((folder / "config.json").read_text())
    del config["input_features"][VIEWS[1]]
    (folder / "config.json").write_text(json.dumps(config))
    ours = XVLAAdapter.from_pretrained(str(folder))
    assert list(ours.info.cameras) == ["agentview"]
    seen = [libero.example_observation(0)]
    poses = ours._chunk(ours.batch(seen), draw(1))
    batch = {key: value for key, value in libero.batch(seen).items() if key != VIEWS[1]}
    assert torch.equal(poses, libero._chunk(batch, draw(1)))
    assert ours.token_spans(seen)["trunk"][0]["empty_view"] == slice(31, 41)


def test_another_domain_acts_otherwise(written, libero):
    seen = [libero.example_observation(0)]
    other = XVLAAdapter.from_pretrained(str(written[0]), domain_id=1)
    assert other.info.notes["domain_id"] == "1"
    assert other.info.checkpoint_hash != libero.info.checkpoint_hash
    assert not np.array_equal(other.infer(seen).actions, libero.infer(seen).actions)
    with pytest.raises(ValueError, match="domain_id 5 is not one of"):
        XVLAAdapter.from_pretrained(str(written[0]), domain_id=5)


def test_bfloat16_acts_nearly_as_float32(written, libero):
    seen = [libero.example_observation(0)]
    half = XVLAAdapter.from_pretrained(str(written[0]), dtype=torch.bfloat16)
    assert half.model.model.transformer.norm.weight.dtype == torch.bfloat16
    np.testing.assert_allclose(
        half.infer(seen).actions[..., :3], libero.infer(seen).actions[..., :3], atol=0.1
    )
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        XVLAAdapter.from_pretrained(str(written[0]), dtype=torch.float16)


def test_another_robot_is_refused(written):
    with pytest.raises(IncompatibleError, match="no camera of that name"):
        XVLAAdapter.from_pretrained(str(written[0]), robot="metaworld")


def test_a_robot_with_other_numbers_is_refused(written):
    libero = ROBOTS["libero_absolute"]
    short = replace(libero, action=ROBOTS["metaworld"].action)
    with pytest.raises(IncompatibleError, match="gives 20 numbers an action"):
        XVLAAdapter.from_pretrained(str(written[0]), robot=short)
    long = replace(libero, state={**libero.state, "joints": ROBOTS["aloha"].state["joints"]})
    with pytest.raises(IncompatibleError, match="room for a state of 20"):
        XVLAAdapter.from_pretrained(str(written[0]), robot=long)


def test_a_wrong_observation_is_refused_before_the_network_runs(libero):
    good = libero.example_observation(0)
    blind = replace(good, images={"agentview": good.images["agentview"]})
    short = replace(good, state={**good.state, "site_columns": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="looks at 'wrist'"):
        libero.infer([blind])
    with pytest.raises(ValueError, match="needs state 'site_columns'"):
        libero.infer([short])
