"""OpenVLA checkpoints in the hub's layout: written, loaded back, and spoilt."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("transformers")

from safetensors.torch import save_file

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError, UnknownName
from vlascope_adapters.checkpoints import read_tensors
from vlascope_adapters.offline import ROBOT
from vlascope_adapters.openvla.adapter import OpenVLAAdapter
from vlascope_adapters.openvla.saving import save_checkpoint


@pytest.fixture(scope="module")
def policy():
    return OpenVLAAdapter.tiny(0)


@pytest.fixture(scope="module")
def seen(policy):
    return [policy.example_observation(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def written(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvla") / "openvla-metaworld"
    save_checkpoint(policy, folder)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    """The same checkpoint, to be spoilt."""
    return shutil.copytree(written, tmp_path / "openvla-metaworld")


def load(folder, **options):
    return OpenVLAAdapter.from_pretrained(str(folder), robot=ROBOT, **options)


@pytest.mark.parametrize("shard_bytes", [5 * 10**9, 200_000], ids=["single", "sharded"])
def test_a_checkpoint_in_the_hubs_layout_loads_back(policy, seen, tmp_path, shard_bytes):
    folder = tmp_path / "openvla-metaworld"
    save_checkpoint(policy, folder, shard_bytes=shard_bytes)
    assert (folder / "model.safetensors").exists() == (shard_bytes > 10**6)
    again = load(folder)
    assert again.info.checkpoint_hash == policy.info.checkpoint_hash
    assert np.array_equal(again.infer(seen).actions, policy.infer(seen).actions)


def test_half_precision_keeps_exact_positions(policy, written, seen):
    half = load(written, dtype=torch.bfloat16)
    rotary, exact = (p.model.language_model.model.rotary_emb for p in (half, policy))
    assert half.model.projector.fc1.weight.dtype == torch.bfloat16
    assert torch.equal(rotary.inv_freq, exact.inv_freq)
    assert np.isfinite(half.infer(seen).actions).all()


def spoil_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil_weights(folder, change):
    tensors = read_tensors(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def to_pickle(folder):
    torch.save(read_tensors(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


KEY = "language_model.model.norm.weight"
SPOILT = {
    "missing": (lambda f: spoil_weights(f, lambda t: t.pop(KEY)), CorruptFile, f"1 missing.*{KEY}"),
    "extra": (
        lambda f: spoil_weights(f, lambda t: t.update(more=torch.ones(1))),
        CorruptFile,
        "1 unexpected.*more",
    ),
    "other shape": (
        lambda f: spoil_weights(f, lambda t: t.update({KEY: torch.ones(3)})),
        CorruptFile,
        "of another shape",
    ),
    "truncated": (lambda f: truncate(f / "model.safetensors"), CorruptFile, "truncated"),
    "pickle": (to_pickle, FileMissing, "pickle form only"),
    "another model": (
        lambda f: spoil_config(f, model_type="llava"),
        IncompatibleError,
        "'llava'.*not 'openvla'",
    ),
    "one tower": (
        lambda f: spoil_config(f, timm_model_ids=["vit_so400m_patch14_siglip_224"]),
        IncompatibleError,
        "two towers",
    ),
    "no processor": (
        lambda f: (f / "preprocessor_config.json").unlink(),
        FileMissing,
        "hf download openvla/openvla-7b preprocessor_config.json",
    ),
    "no tokenizer": (
        lambda f: (f / "tokenizer.json").unlink(),
        FileMissing,
        "hf download openvla/openvla-7b tokenizer.json.*tokenizer=FOLDER",
    ),
    "an OFT": (
        lambda f: (f / "action_head--1_checkpoint.pt").touch(),
        IncompatibleError,
        "use the adapter 'openvla_oft'",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_checkpoint_is_one_clear_error(copy, what):
    spoil, error, said = SPOILT[what]
    spoil(copy)
    with pytest.raises(error, match=said):
        load(copy)


def test_statistics_and_robot_are_not_guessed(copy, written):
    path = copy / "dataset_statistics.json"
    one = json.loads(path.read_text())["tiny"]
    path.write_text(json.dumps({"bridge_orig": one, "fractal": one}))
    with pytest.raises(IncompatibleError, match=r"unnorm_key=.*bridge_orig, fractal"):
        load(copy)
    assert load(copy, unnorm_key="fractal").info.notes["unnorm_key"] == "fractal"
    with pytest.raises(UnknownName, match="'bridge'"):
        load(copy, unnorm_key="bridge")
    with pytest.raises(IncompatibleError, match=r"4 numbers.*has 7"):
        OpenVLAAdapter.from_pretrained(str(written), robot="libero")
    nameless = shutil.copytree(written, copy.parent / "mine")
    with pytest.raises(IncompatibleError, match="robot=NAME"):
        OpenVLAAdapter.from_pretrained(str(nameless))
