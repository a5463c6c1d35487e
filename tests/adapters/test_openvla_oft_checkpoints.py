"""OpenVLA-OFT checkpoints in the hub's layout: written, loaded back, and spoilt."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("transformers")

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope_adapters.openvla.checkpoint import merged_lora
from vlascope_adapters.openvla.oft_adapter import OpenVLAOFTAdapter
from vlascope_adapters.openvla.saving import save_checkpoint
from vlascope_adapters.robots import ROBOTS

LIBERO = ROBOTS["libero"].seen_at(96)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "film"])
def policy(request):
    """Two cameras, 7 numbers an action, 8 of state, as LIBERO has them."""
    return OpenVLAOFTAdapter.tiny_for(LIBERO, 1, film=request.param)


@pytest.fixture(scope="module")
def plain():
    return OpenVLAOFTAdapter.tiny_for(LIBERO, 2)


@pytest.fixture
def written(plain, tmp_path):
    folder = tmp_path / "openvla-oft-libero"
    save_checkpoint(plain, folder, steps=150)
    return folder


def load(folder, **options):
    return OpenVLAOFTAdapter.from_pretrained(str(folder), **{"robot": LIBERO, **options})


def looks(policy, *seeds):
    return [policy.example_observation(seed) for seed in seeds]


@pytest.mark.parametrize("shard_bytes", [5 * 10**9, 300_000], ids=["single", "sharded"])
def test_a_checkpoint_in_the_hubs_layout_loads_back(policy, tmp_path, shard_bytes):
    folder = tmp_path / "openvla-oft-libero"
    save_checkpoint(policy, folder, shard_bytes=shard_bytes, steps=150)
    head = folder / "action_head--150_checkpoint.pt"
    torch.save({f"module.{n}": t for n, t in torch.load(head).items()}, head)
    again, seen = load(folder), looks(policy, 0, 1)
    assert again.info.checkpoint_hash == policy.info.checkpoint_hash
    assert np.array_equal(again.infer(seen).actions, policy.infer(seen).actions)
    assert again.info.horizon == 8
    half = load(folder, dtype=torch.bfloat16).infer(seen).actions
    assert np.abs(half - again.infer(seen).actions)[..., :6].max() < 0.3


def test_low_rank_updates_are_merged_as_peft_merges_them():
    generator = torch.Generator().manual_seed(0)
    base, up = (torch.randn(*s, generator=generator) for s in ((6, 4), (6, 32)))
    down, kernel = (torch.randn(*s, generator=generator) for s in ((32, 4), (6, 3, 2, 2)))
    merged = merged_lora(
        {
            "a.qkv.base_layer.weight": base,
            "a.qkv.base_layer.bias": torch.ones(6),
            "a.qkv.lora_A.default.weight": down,
            "a.qkv.lora_B.default.weight": up,
            "a.scale.weight": base,
            "p.proj.base_layer.weight": kernel,
            "p.proj.lora_A.default.weight": kernel[:2],
            "p.proj.lora_B.default.weight": torch.ones(6, 2, 1, 1),
        }
    )
    assert sorted(merged) == ["a.qkv.bias", "a.qkv.weight", "a.scale.weight", "p.proj.weight"]
    torch.testing.assert_close(merged["a.qkv.weight"], base + 0.5 * up @ down)  # 16 of rank 32
    torch.testing.assert_close(merged["p.proj.weight"], kernel + kernel[:2].sum(0))
    with pytest.raises(CorruptFile, match=r"a\.qkv is incomplete"):
        merged_lora({"a.qkv.base_layer.weight": base, "a.qkv.lora_A.default.weight": down})


class _Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def rewrite(folder, part, change):
    path = folder / f"{part}--150_checkpoint.pt"
    tensors = torch.load(path)
    change(tensors)
    torch.save(tensors, path)


HEAD = "action_head--150_checkpoint.pt"
SPOILT = {
    "no head": (lambda f: (f / HEAD).unlink(), IncompatibleError, "use the adapter 'openvla'"),
    "two heads": (
        lambda f: shutil.copy(f / HEAD, f / "action_head--9_checkpoint.pt"),
        FileMissing,
        "needs exactly one",
    ),
    "a diffusion head": (
        lambda f: (f / "noisy_action_projector--1_checkpoint.pt").touch(),
        IncompatibleError,
        "diffusion",
    ),
    "truncated": (
        lambda f: (f / HEAD).write_bytes((f / HEAD).read_bytes()[:-50]),
        CorruptFile,
        f"{HEAD} is truncated",
    ),
    "code in a pickle": (
        lambda f: torch.save(_Harmful(), f / HEAD),
        CorruptFile,
        "holds more than tensors",
    ),
    "missing": (
        lambda f: rewrite(f, "action_head", lambda t: t.pop("model.fc1.bias")),
        CorruptFile,
        r"1 missing \(action_head\.model\.fc1\.bias\)",
    ),
    "another head": (
        lambda f: rewrite(f, "action_head", lambda t: t.pop("model.fc2.weight")),
        CorruptFile,
        "lacks 'action_head.model.fc2.weight'",
    ),
    "extra": (
        lambda f: rewrite(f, "proprio_projector", lambda t: t.update(more=torch.ones(1))),
        CorruptFile,
        r"1 unexpected \(proprio_projector\.more\)",
    ),
    "no projector": (
        lambda f: (f / "proprio_projector--150_checkpoint.pt").unlink(),
        FileMissing,
        "no proprio_projector--STEPS_checkpoint.pt",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_checkpoint_is_one_clear_error(written, monkeypatch, what):
    monkeypatch.chdir(written)
    spoil, error, said = SPOILT[what]
    spoil(written)
    with pytest.raises(error, match=said):
        load(written)
    assert not (written / "harm").exists()


def test_statistics_without_the_state_are_refused(written):
    path = written / "dataset_statistics.json"
    statistics = json.loads(path.read_text())
    del statistics["tiny"]["proprio"]
    path.write_text(json.dumps(statistics))
    with pytest.raises(CorruptFile, match=r"'tiny' are of \['action'\], and not of proprio"):
        load(written)


def test_the_robot_says_what_the_checkpoint_does_not(written, plain):
    named = OpenVLAOFTAdapter.from_pretrained(str(written))
    assert named.robot.name == "libero"
    assert named.info.executed_steps == 8
    one = load(written, cameras=["wrist"])
    assert list(one.info.cameras) == ["wrist"]
    assert one.info.pathway("vision").calls_per_chunk == 1
    assert load(written, robot=replace(LIBERO, name="mine")).info.horizon == 8
    config = json.loads((written / "config.json").read_text())
    del config["num_actions_chunk"]  # which the published ones do not have
    (written / "config.json").write_text(json.dumps(config))
    assert load(written).info.horizon == 8
    with pytest.raises(IncompatibleError, match="say it with horizon="):
        load(written, robot=replace(LIBERO, name="mine"))
    assert load(written, robot=replace(LIBERO, name="mine"), horizon=5).info.horizon == 5
    with pytest.raises(ValueError, match="eef_position"):
        plain.infer([replace(looks(plain, 0)[0], state={})])
