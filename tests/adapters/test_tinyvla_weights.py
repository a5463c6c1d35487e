"""A TinyVLA on disk loads wholly, or says which file is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from vlascope.errors import ChecksumMismatch, CorruptFile
from vlascope.noise import generator_for
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
from vlascope_adapters.tinyvla.weights import CARD, WEIGHTS, load_policy, save_policy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny = TinyVLAAdapter.tiny(0)
    save_policy(tmp_path, tiny.model.state_dict(), tiny.card)
    return tmp_path


def resave(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write other tensors with a card that signs for them."""
    card = load_policy(str(folder)).card
    save_policy(folder, tensors, card)


def test_what_was_saved_acts_alike(folder):
    tiny, loaded = TinyVLAAdapter.tiny(0), TinyVLAAdapter.from_pretrained(str(folder))
    row = [tiny.example_observation()]
    before = tiny.infer(row, generators=[generator_for(0)]).actions
    after = loaded.infer(row, generators=[generator_for(0)]).actions
    np.testing.assert_allclose(after, before, atol=2e-2)


def test_a_folder_without_a_policy_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"policy\.json is missing"):
        load_policy(str(tmp_path))


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_truncated_weights(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ChecksumMismatch, match=WEIGHTS):
        load_policy(str(folder))


def test_one_flipped_bit(folder):
    path = folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ChecksumMismatch):
        load_policy(str(folder))


def test_weights_that_are_no_safetensors(folder):
    import hashlib

    content = b"PK\x03\x04 something else"
    (folder / WEIGHTS).write_bytes(content)
    card = json.loads((folder / CARD).read_text())
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(CorruptFile, match="no complete safetensors"):
        load_policy(str(folder))


def test_a_missing_tensor(folder):
    tensors = load_file(folder / WEIGHTS)
    del tensors["action_head.bias"]
    resave(folder, tensors)
    with pytest.raises(CorruptFile, match=r"action_head\.bias is missing"):
        load_policy(str(folder))


def test_a_foreign_tensor(folder):
    resave(folder, {**load_file(folder / WEIGHTS), "lm_head.weight": torch.zeros(2)})
    with pytest.raises(CorruptFile, match=r"lm_head\.weight is not known"):
        load_policy(str(folder))


def test_a_tensor_of_another_shape(folder):
    resave(folder, {**load_file(folder / WEIGHTS), "action_head.bias": torch.zeros(7)})
    with pytest.raises(CorruptFile, match=r"action_head\.bias is \(7,\), not \(4,\)"):
        load_policy(str(folder))


@pytest.mark.parametrize("text", ["", "{", '{"format": "lerobot/3"}', "[]"])
def test_a_card_that_is_something_else(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(CorruptFile, match="does not describe a TinyVLA"):
        load_policy(str(folder))


def test_tensors_are_stored_in_half_precision(folder):
    assert {t.dtype for t in load_file(folder / WEIGHTS).values()} == {torch.float16}
    assert len(save(load_file(folder / WEIGHTS))) == (folder / WEIGHTS).stat().st_size
