"""GR00T N1.5 from the layout of lerobot 0.4 and 0.5, which lerobot 0.6 refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from safetensors.torch import save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.noise import generator_for
from vlascope_adapters.groot_n15.adapter import GR00TN15Adapter
from vlascope_adapters.groot_n15.checkpoint import Parts, open_checkpoint
from vlascope_adapters.groot_n15.embodiment import DataConfig
from vlascope_adapters.groot_n15.published import published
from vlascope_adapters.groot_n15.tiny import CONFIG, ROBOT, tiny_parts

_PACK, _UNPACK = "groot_pack_inputs_v3", "groot_action_unpack_unnormalize_v1"


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def written(tmp_path):
    """A policy as lerobot 0.5 saved it, Eagle's folder, and what they were written from."""
    parts, folder, eagle = tiny_parts(4), tmp_path / "groot-tiny", tmp_path / "eagle"
    write_json(tmp_path / "base" / "config.json", CONFIG)
    picture = {"type": "VISUAL", "shape": [3, 96, 96]}
    config = {
        "type": "groot",
        "base_model_path": str(tmp_path / "base"),
        "n_action_steps": 50,
        "input_features": {
            "observation.images.camera1": picture,
            "observation.state": {"type": "STATE", "shape": [4]},
        },
    }
    write_json(folder / "config.json", config)
    write_json(folder / "train_config.json", {"dataset": {"repo_id": "lerobot/metaworld_mt50"}})
    tensors = parts.network.state_dict()
    save_file({f"_groot_model.{n}": t for n, t in tensors.items()}, folder / "model.safetensors")
    own = parts.embodiment
    for stage, name, numbers, key, options in (
        ("preprocessor_step_2", _PACK, own.state, "observation.state", {"embodiment_tag": "so100",
         "embodiment_mapping": {"so100": 2}}),
        ("postprocessor_step_0", _UNPACK, own.action, "action", {"env_action_dim": 4}),
    ):  # fmt: skip
        file = f"policy_{stage}_{name}.safetensors"
        low, high = numbers.zero, numbers.zero + numbers.span
        save_file({f"{key}.min": low, f"{key}.max": high}, folder / file)
        step = {"registry_name": name, "config": options, "state_file": file}
        pipeline = f"policy_{stage.split('_')[0]}.json"
        write_json(folder / pipeline, {"steps": [{"registry_name": "to_batch_processor"}, step]})
    write_json(eagle / "config.json", parts.eagle.config)
    half = [0.5, 0.5, 0.5]
    look = {"size": {"height": 56, "width": 56}, "image_mean": half, "image_std": half}
    write_json(eagle / "preprocessor_config.json", look)
    parts.eagle.tokenizer.save_pretrained(eagle)
    return folder, eagle, parts


def load(written, **options):
    return GR00TN15Adapter.from_pretrained(
        str(written[0]), **{"robot": ROBOT, "eagle": str(written[1]), **options}
    )


def test_a_policy_of_lerobots_acts_as_the_network_with_lerobots_processors(written):
    ours, parts = load(written), written[2]
    own = replace(parts.embodiment, crop=None, projector=2)
    wanted = GR00TN15Adapter(Parts(parts.network, parts.eagle, own), ROBOT, "saved")
    seen = ours.example_observation(0)

    def act(policy, row=seen):
        return policy.infer([row], generators=[generator_for(0)]).actions

    np.testing.assert_allclose(act(ours), act(wanted), atol=1e-6)
    assert ours.info.executed_steps == 16
    assert ours.info.notes == {"embodiment": "so100"}
    silent, said = (replace(seen, instruction=text) for text in ("", "Perform the task."))
    assert np.array_equal(act(ours, silent), act(ours, said))


def test_the_dataset_tells_the_robot_and_the_base_is_the_published_one(written):
    change = {"base_model_path": "nvidia/GR00T-N1.5-3B"}
    config = json.loads((written[0] / "config.json").read_text())
    write_json(written[0] / "config.json", {**config, **change})
    opened = open_checkpoint(str(written[0]), embodiment=None, data=DataConfig())
    assert "lerobot/metaworld_mt50" in opened.hints
    assert opened.config == published()["config"]
    with pytest.raises(CorruptFile, match="missing"):
        load(written)


def test_processors_of_n17_missing_or_spoilt_are_told_apart(written):
    path = written[0] / "policy_preprocessor.json"
    pipeline = json.loads(path.read_text())
    del pipeline["steps"][1]["config"]["embodiment_tag"]
    write_json(path, pipeline)
    with pytest.raises(CorruptFile, match=r"not as lerobot 0\.4 and 0\.5 wrote them"):
        load(written)
    write_json(path, {"steps": [{"registry_name": "groot_n17_pack"}]})
    with pytest.raises(IncompatibleError, match=r"not N1\.5.*The adapter 'groot' reads N1\.7"):
        load(written)
    path.unlink()
    with pytest.raises(FileMissing, match=r"has no policy_preprocessor\.json"):
        load(written)


def test_weights_without_the_prefix_of_lerobots_policies_are_refused(written):
    tensors = {name: torch.zeros(1) for name in ("model.weight", "model.bias")}
    save_file(tensors, written[0] / "model.safetensors")
    with pytest.raises(CorruptFile, match="nothing was loaded"):
        load(written)
