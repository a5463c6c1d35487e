"""GR00T N1.5 from checkpoints in NVIDIA's layout, good and bad; normalisation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

from safetensors.torch import load_file, save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError, UnknownName
from vlascope.noise import generator_for
from vlascope.specs import StateSpec
from vlascope_adapters.groot_n15.adapter import GR00TN15Adapter
from vlascope_adapters.groot_n15.embodiment import DataConfig, Scale
from vlascope_adapters.groot_n15.published import published
from vlascope_adapters.groot_n15.tiny import CONFIG, ROBOT, tiny_parts

_SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_HEAD = "backbone.eagle_model.language_model.lm_head.weight"
_WORDS = "backbone.eagle_model.language_model.model.embed_tokens.weight"


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def ranges(scale, **keys):
    """Statistics of upstream's metadata.json, of some of a scale's numbers by key."""
    low, high = scale.zero, scale.zero + scale.span
    return {
        key: {
            "min": low[part].tolist(), "max": high[part].tolist(), "mean": [0.5] * len(low[part]),
            "std": [2.0] * len(low[part]), "q01": low[part].tolist(), "q99": high[part].tolist(),
        }
        for key, part in keys.items()
    }  # fmt: skip


def metadata(own):
    hand = {"hand": slice(0, 3), "gripper": slice(3, 4)}
    return {
        "statistics": {"state": ranges(own.state, **hand), "action": ranges(own.action, **hand)},
        "modalities": {"video": {"corner2": {"resolution": [96, 96], "channels": 3, "fps": 80.0}}},
        "embodiment_tag": "new_embodiment",
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint in NVIDIA's layout, Eagle's folder, and what they were written from."""
    root, parts = tmp_path_factory.mktemp("groot_n15"), tiny_parts(3)
    folder, eagle = root / "GR00T-N1.5-metaworld", root / "eagle"
    write_json(folder / "config.json", CONFIG)
    write_json(
        folder / "experiment_cfg" / "metadata.json", {"new_embodiment": metadata(parts.embodiment)}
    )
    names = sorted(parts.network.state_dict())
    shards = {name: _SHARDS[i % 2] for i, name in enumerate(names)}
    for shard in _SHARDS:
        tensors = {n: t for n, t in parts.network.state_dict().items() if shards[n] == shard}
        save_file(tensors, folder / shard)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})
    write_json(eagle / "config.json", parts.eagle.config)
    look = {"size": {"height": 56, "width": 56}, "tokens_per_tile": 16, "do_resize": False}
    half = [0.5, 0.5, 0.5]
    write_json(eagle / "preprocessor_config.json", {**look, "image_mean": half, "image_std": half})
    parts.eagle.tokenizer.save_pretrained(eagle)
    return folder, eagle, parts


@pytest.fixture
def copies(written, tmp_path):
    """The same two folders, to be spoilt."""
    return tuple(shutil.copytree(path, tmp_path / path.name) for path in written[:2])


def load(folders, **options):
    """At the camera size that the checkpoint was made for."""
    folder, eagle = folders[:2]
    return GR00TN15Adapter.from_pretrained(
        str(folder), **{"robot": ROBOT, "eagle": str(eagle), **options}
    )


def change(path, **changes):
    write_json(path, {**json.loads(path.read_text()), **changes})


def spoil(folder, change):
    for shard in _SHARDS:
        save_file(change(load_file(folder / shard)), folder / shard)


def test_a_checkpoint_in_the_hubs_layout_acts_as_the_policy_it_was_written_from(written):
    saved = GR00TN15Adapter(written[2], ROBOT, "saved")
    ours = load(written)
    own = saved.model.state_dict()
    assert all(torch.equal(own[n], t) for n, t in ours.model.state_dict().items())
    seen = [ours.example_observation(seed) for seed in range(2)]
    np.testing.assert_allclose(ours.infer(seen).actions, saved.infer(seen).actions, atol=1e-6)
    assert ours.info.checkpoint_hash == load(written).info.checkpoint_hash


@pytest.mark.parametrize("left", [_HEAD, _WORDS])
def test_a_checkpoint_of_a_tied_model_holds_one_word_embedding_for_two(copies, left):
    folder = copies[0]
    spoil(
        folder,
        lambda tensors: {n: t for n, t in tensors.items() if n not in {_HEAD, _WORDS} - {left}},
    )
    kept = load(copies).model.state_dict()
    assert torch.equal(kept[_HEAD], kept[_WORDS])


def test_a_checkpoint_without_the_pooling_head_that_nothing_reads_is_whole(copies, written):
    spoil(
        copies[0],
        lambda tensors: {n: t for n, t in tensors.items() if "vision_model.head." not in n},
    )
    seen = [load(written).example_observation(0)]
    assert np.array_equal(load(copies).infer(seen).actions, load(written).infer(seen).actions)


def test_half_precision_and_executed_steps_are_the_loaders_options(written):
    ours = load(written, dtype=torch.bfloat16, executed_steps=8)
    assert ours.model.action_head.future_tokens.weight.dtype == torch.bfloat16
    assert ours.info.executed_steps == 8
    assert np.isfinite(ours.infer([ours.example_observation(0)]).actions).all()


def test_what_the_data_config_says_is_honoured(written, copies):
    seen = [load(written).example_observation(0)]
    noise = {"generators": [generator_for(0)]}
    plain = load(written).infer(seen, **noise).actions
    order = load(written, data={"action": ["gripper", "hand"]}).infer(seen, **noise).actions
    assert not np.array_equal(order, plain)
    centred = load(written, data=DataConfig(mean_std=("hand",)))
    assert centred.embodiment.action.centred.tolist() == [True, True, True, False]
    whole = load(written, data=DataConfig(crop=1.0)).infer(seen, **noise).actions
    assert not np.array_equal(whole, plain)
    with pytest.raises(UnknownName, match="'hands'; did you mean 'hand'"):
        load(written, data=DataConfig(state=("hands",)))


def test_missing_extra_and_reshaped_tensors_are_named(copies):
    gone, bent = "action_head.vlln.weight", "action_head.vlln.bias"

    def worse(tensors):
        changed = {n: torch.zeros(9) if n == bent else t for n, t in tensors.items() if n != gone}
        return {**changed, "stranger": torch.zeros(2)}

    spoil(copies[0], worse)
    with pytest.raises(CorruptFile) as error:
        load(copies)
    for name in ("unexpected (stranger", f"{bent} is (9,)", f"missing ({gone}"):
        assert name in str(error.value)


def test_a_truncated_shard_is_refused(copies):
    shard = copies[0] / _SHARDS[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="truncated"):
        load(copies)


def test_weights_in_pickle_form_are_refused(copies):
    (copies[0] / "model.safetensors.index.json").unlink()
    for shard in _SHARDS:
        (copies[0] / shard).unlink()
    (copies[0] / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileMissing, match="pickle form only"):
        load(copies)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gr00t_n1"}, "a 'gr00t_n1' checkpoint, not 'gr00t_n1_5'"),
        ({"model_type": None, "type": "pi0"}, "a 'pi0' checkpoint, not 'gr00t_n1_5'"),
    ],
)
def test_another_architecture_is_named(copies, config, message):
    change(copies[0] / "config.json", **config)
    with pytest.raises(IncompatibleError, match=message):
        load(copies)


def test_a_config_that_does_not_describe_the_network_is_refused(copies):
    change(copies[0] / "config.json", action_head_cfg={"action_dim": 8})
    with pytest.raises(CorruptFile, match=r"config\.json of .* does not describe a GR00T N1\.5"):
        load(copies)


def test_statistics_missing_spoilt_or_of_several_robots_are_told_apart(copies):
    path = copies[0] / "experiment_cfg" / "metadata.json"
    good = json.loads(path.read_text())["new_embodiment"]
    write_json(path, {"new_embodiment": good, "gr1": good})
    with pytest.raises(IncompatibleError, match="gr1, new_embodiment; say which"):
        load(copies)
    assert load(copies, embodiment="gr1").embodiment.projector == 24
    with pytest.raises(UnknownName, match="'gr2'; did you mean 'gr1'"):
        load(copies, embodiment="gr2")
    write_json(path, {"new_embodiment": {**good, "statistics": {"state": {}}}})
    with pytest.raises(CorruptFile, match="not as upstream writes them"):
        load(copies)
    path.unlink()
    with pytest.raises(FileMissing, match=r"no experiment_cfg/metadata\.json"):
        load(copies)


def test_a_robot_of_other_numbers_is_refused(written):
    other = replace(ROBOT, state={"proprio": StateSpec(names=("x",), units=("m",))})
    message = r"state of 4 numbers and gives actions of 4; robot 'metaworld' has 1 and 4"
    with pytest.raises(IncompatibleError, match=message):
        load(written, robot=other)


def test_a_wrong_observation_is_refused_before_the_network_runs(written):
    policy = load(written)
    good = policy.example_observation(0)
    blind = type(good)(good.instruction, {}, good.state)
    short = type(good)(good.instruction, good.images, {"proprio": np.zeros(3, np.float32)})
    ran = []
    policy.model.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match="looks at 'corner2'"):
        policy.infer([blind])
    with pytest.raises(ValueError, match="needs state 'proprio'"):
        policy.infer([short])
    assert not ran


def test_normalisation_is_upstreams_also_where_nothing_varies():
    scale = Scale(
        torch.tensor([-1.0, 3.0, 2.0, 7.0]),
        torch.tensor([4.0, 0.0, 0.5, 0.0]),
        torch.tensor([False, False, True, True]),
    )
    shown = scale.normalise(torch.tensor([[1.0, 9.0, 3.0, 8.0]]))
    assert shown.tolist() == [[0.0, 0.0, 2.0, 8.0]]
    assert scale.restore(torch.tensor([[0.0, 5.0, 2.0, 8.0]])).tolist() == [[1.0, 3.0, 3.0, 7.0]]


def test_the_published_data_has_a_source_for_every_part():
    table = published()
    assert set(table["sources"]) == set(table) - {"about", "sources"}
