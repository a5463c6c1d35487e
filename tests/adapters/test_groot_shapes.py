"""GR00T N1.7 in other shapes: two cameras, other networks, the published size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.groot.groot_n1_7 import GR00TN17Config
from lerobot.policies.groot.modeling_groot import GrootPolicy

from vlascope.noise import generator_for
from vlascope.recording import capture
from vlascope_adapters.lerobot import groot_tiny
from vlascope_adapters.lerobot.groot import GrootAdapter, at_real_size
from vlascope_adapters.robots import ROBOTS


def test_two_cameras_lie_end_to_end_in_the_order_of_the_pipeline():
    policy = two_cameras()
    seen = [policy.example_observation(seed) for seed in range(2)]
    assert list(policy.info.cameras) == ["agentview", "wrist"]
    patches, merged = policy._layout.of_pictures()
    assert list(patches.pairs()) == ["image.agentview", "image.wrist"]
    other = replace(seen[1], images={**seen[1].images, "wrist": seen[0].images["wrist"]})
    at = ["vision.2.resid_post", "vision.projector"]
    plain, mixed = capture(policy, seen, at), capture(policy, [seen[0], other], at)
    for point, spans in zip(at, (patches, merged), strict=True):
        before, after = plain.stack(point)[0, 1], mixed.stack(point)[0, 1]
        assert torch.equal(before[spans["image.agentview"]], after[spans["image.agentview"]])
        assert not torch.equal(before[spans["image.wrist"]], after[spans["image.wrist"]])
        first = mixed.stack(point)[0, 0]
        torch.testing.assert_close(after[spans["image.wrist"]], first[spans["image.wrist"]])


def two_cameras():
    """A tiny policy for LIBERO's robot, which looks through two cameras."""
    robot = ROBOTS["libero"].seen_at(96)
    picture = PolicyFeature(FeatureType.VISUAL, (3, 96, 96))
    features = {
        "input_features": {
            "observation.images.wrist_image": picture,
            "observation.images.image": picture,
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (7,))},
    }
    return GrootAdapter(*groot_tiny.make(1, features, {"action": {}}), robot, "two")


def test_other_shapes_of_the_network_keep_rows_apart_too(monkeypatch):
    """No self-attention stack; a plain DiT, to which upstream gives no padding mask at all."""
    narrow = groot_tiny.network

    def plain(backbone):
        network = narrow(backbone)
        network.use_alternate_vl_dit, network.vl_self_attention_cfg = False, None
        return network

    monkeypatch.setattr(groot_tiny, "network", plain)
    policy = GrootAdapter.tiny(0)
    assert [pathway.name for pathway in policy.info.pathways] == ["vision", "vlm", "expert"]
    seen = [policy.example_observation(seed) for seed in range(3)]
    together = policy.infer(seen, generators=[generator_for(0, row) for row in range(3)]).actions
    alone = policy.infer(seen[1:2], generators=[generator_for(0, 1)]).actions[0]
    np.testing.assert_allclose(together[1], alone, atol=2e-5)


def test_the_real_size_is_the_published_one():
    """3.14 B is what lerobot's training log says of nvidia/GR00T-N1.7-3B."""
    model = at_real_size()
    parameters = {
        path: sum(p.numel() for p in model.get_submodule(path).parameters())
        for path in (
            "_groot_model.backbone.model.model.visual",
            "_groot_model.backbone.model.model.language_model",
            "_groot_model.action_head.vl_self_attention",
            "_groot_model.action_head.model",
        )
    }
    assert [round(n / 1e6) for n in parameters.values()] == [407, 1117, 201, 1092]
    assert isinstance(model, GrootPolicy)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(3.14e9, rel=0.005)
    assert GR00TN17Config().select_layer == len(model._groot_model.backbone.language_model.layers)
