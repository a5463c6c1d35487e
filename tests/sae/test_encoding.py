"""Autoencoders read through the core's door, by those who do not know what they are."""

from __future__ import annotations

import pytest
import torch

from vlascope.encoders import open_encoder
from vlascope.errors import CorruptFile, FileMissing
from vlascope.interventions import parse_intervention
from vlascope_sae.architectures import build
from vlascope_sae.files import Provenance, save_sae

AT = "vlm.1.resid_post"


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    sae = build({"architecture": "topk", "d_in": 8, "d_sae": 16, "k": 3})
    origin = Provenance(hook_point=AT, spans=("soft_prompt",), calls=(0,), checkpoint_hash="abc")
    return save_sae(tmp_path / "sae", sae, origin)


def test_an_autoencoder_opens_as_an_encoder_that_says_where_it_belongs(folder):
    encoder = open_encoder(folder)
    assert (str(encoder.at), encoder.tokens, encoder.calls) == (AT, ("soft_prompt",), (0,))
    assert (encoder.width, encoder.features, encoder.pool, encoder.policy) == (8, 16, "none", "abc")


def test_its_features_are_not_negative_and_its_directions_are_unit(folder):
    encoder = open_encoder(folder)
    codes = encoder.encode(torch.randn(5, 8, dtype=torch.float64))
    assert codes.shape == (5, 16)
    assert codes.dtype == torch.float32
    assert (codes >= 0).all()
    assert (codes > 0).any()
    assert encoder.direction(3).norm().item() == pytest.approx(1, abs=1e-5)


def test_its_edits_are_interventions_at_the_place_it_was_trained(folder):
    encoder = open_encoder(folder)
    ablated, added = encoder.edit([2, 3]), encoder.edit([2], add=1.5)
    assert ablated["kind"] == "sae_feature"
    assert ablated["mode"] == "ablate"
    assert tuple(ablated["features"]) == (2, 3)
    assert added["value"] == 1.5
    for edit in (ablated, added):
        read_back = parse_intervention(edit)
        assert read_back.at == (AT,)
        assert read_back.tokens == ("soft_prompt",)


def test_what_is_no_encoder_is_refused_by_name(tmp_path):
    with pytest.raises(FileMissing, match="nowhere"):
        open_encoder(tmp_path / "nowhere")
    with pytest.raises(CorruptFile, match="known: sae"):
        open_encoder(tmp_path)
