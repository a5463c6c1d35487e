"""Autoencoders on disk: whole or refused, and tied to what they were trained on."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlascope.errors import (
    AlreadyThere,
    ChecksumMismatch,
    CorruptFile,
    DiskFull,
    FileMissing,
    IncompatibleError,
    UnknownName,
)
from vlascope.loading import load
from vlascope.plugins import saes
from vlascope_sae import files
from vlascope_sae.architectures import build
from vlascope_sae.files import Provenance, Trained, check_fits, load_sae, read_manifest, save_sae

D, F = 6, 16
SETTINGS = {"topk": {"k": 3}, "batch_topk": {"k": 3}, "temporal": {"k": 3}}
SETTINGS |= {"matryoshka": {"k": 3, "prefixes": (0.5, 1.0)}}


def made(architecture="topk", seed=0, **settings):
    """A trained-looking autoencoder: random numbers in every tensor."""
    torch.manual_seed(seed)
    settings = {"d_in": D, "d_sae": F} | SETTINGS.get(architecture, {}) | settings
    sae = build({"architecture": architecture, **settings})
    with torch.no_grad():
        for tensor in (*sae.parameters(), *sae.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
    return sae


def rows(n=9, d=D):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture(scope="module")
def policy():
    return load("toy")


def trained_on(policy, **changes):
    about = {
        "adapter": policy.name,
        "checkpoint": policy.info.checkpoint,
        "checkpoint_hash": policy.info.checkpoint_hash,
        "hook_point": "vlm.1.resid_post",
    }
    return Provenance(**(about | changes))


@pytest.mark.parametrize("architecture", sorted(saes()))
@pytest.mark.parametrize("normalise", ["none", "zscore", "layer_norm"])
def test_every_architecture_comes_back_bit_for_bit(tmp_path, architecture, normalise):
    sae = made(architecture, normalise=normalise)
    save_sae(tmp_path, sae, Provenance(hook_point="vlm.1.resid_post", samples=10))
    back, provenance = load_sae(tmp_path)
    assert type(back) is type(sae)
    assert back.config == sae.config
    assert provenance == Provenance(hook_point="vlm.1.resid_post", samples=10)
    assert torch.equal(back.encode(rows()), sae.encode(rows()))
    assert torch.equal(back(rows()), sae(rows()))


def test_a_transcoder_comes_back_with_both_normalisations(tmp_path):
    sae = made(d_out=4, normalise="zscore")
    back = load_sae(save_sae(tmp_path / "t", sae)).sae
    assert torch.equal(back(rows()), sae(rows()))
    assert back(rows()).shape == (9, 4)


def test_weights_keep_their_type_unless_another_is_asked_for(tmp_path):
    save_sae(tmp_path, made().to(torch.bfloat16))
    assert load_sae(tmp_path).sae.W_dec.dtype == torch.bfloat16
    assert load_sae(tmp_path, dtype=torch.float32).sae.W_dec.dtype == torch.float32


def test_what_a_folder_holds_can_be_read_without_its_weights(tmp_path):
    save_sae(tmp_path, made())
    (tmp_path / "sae.safetensors").unlink()
    manifest = read_manifest(tmp_path)
    assert manifest.config["k"] == 3
    assert manifest.tensors["W_enc"].shape == (D, F)


def test_nothing_is_written_over_unless_asked(tmp_path):
    save_sae(tmp_path, made())
    with pytest.raises(AlreadyThere, match="holds an SAE"):
        save_sae(tmp_path, made(seed=1))
    save_sae(tmp_path, made(seed=1), replace=True)
    assert torch.equal(load_sae(tmp_path).sae.W_enc, made(seed=1).W_enc)


@pytest.mark.parametrize("finished", [0, 1])
def test_an_interrupted_replacement_leaves_one_whole_autoencoder(tmp_path, monkeypatch, finished):
    save_sae(tmp_path, made(seed=0), Provenance(samples=1))
    really, calls = files.write_atomically, []

    def full_disk(path, parts):
        calls.append(path)
        if len(calls) > finished:
            raise DiskFull(28, "no space left", str(path))
        really(path, parts)

    monkeypatch.setattr(files, "write_atomically", full_disk)
    with pytest.raises(DiskFull):
        save_sae(tmp_path, made(seed=1), Provenance(samples=2), replace=True)
    sae, provenance = load_sae(tmp_path)
    assert torch.equal(sae.W_enc, made(seed=finished).W_enc)
    assert provenance.samples == finished + 1
    assert read_manifest(tmp_path).provenance == provenance


def test_a_first_save_interrupted_after_the_weights_can_be_read(tmp_path):
    save_sae(tmp_path, made(), Provenance(samples=3))
    (tmp_path / "sae.json").unlink()
    assert read_manifest(tmp_path).provenance.samples == 3
    assert torch.equal(load_sae(tmp_path).sae.W_enc, made().W_enc)


def test_a_truncated_file_is_refused(tmp_path):
    save_sae(tmp_path, made())
    weights = tmp_path / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CorruptFile, match="truncated"):
        load_sae(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path):
    save_sae(tmp_path, made())
    weights = tmp_path / "sae.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-3] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(ChecksumMismatch, match="other weights"):
        load_sae(tmp_path)


@pytest.mark.parametrize(
    ("schema", "remedy"),
    [
        ("vlascope.sae/2", "upgrade vlascope"),
        ("vlascope.sae/0", "write it again"),
        ("another/1", "write it again"),
    ],
)
def test_another_schema_says_what_to_do(tmp_path, schema, remedy):
    save_sae(tmp_path, made())
    about = tmp_path / "sae.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"schema_version": schema}))
    with pytest.raises(CorruptFile, match=remedy):
        load_sae(tmp_path)
    with pytest.raises(CorruptFile, match=remedy):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"schema_version": "vlascope.sae/1"}'])
def test_a_description_that_is_none_is_refused(tmp_path, text):
    save_sae(tmp_path, made())
    (tmp_path / "sae.json").write_text(text)
    with pytest.raises(CorruptFile, match=r"sae\.json"):
        load_sae(tmp_path)


def test_a_folder_without_an_autoencoder_is_said_to_be_one(tmp_path):
    with pytest.raises(FileMissing, match="there is no SAE"):
        load_sae(tmp_path)
    with pytest.raises(FileMissing, match="there is no SAE"):
        read_manifest(tmp_path / "nowhere")


def test_another_librarys_folder_is_recognised(tmp_path):
    (tmp_path / "cfg.json").write_text("{}")
    save_file({"W_enc": torch.zeros(2, 2)}, tmp_path / "sae_weights.safetensors")
    with pytest.raises(FileMissing, match="SAELens"):
        load_sae(tmp_path)


def _rewritten(folder, change):
    """Change the tensors, and make the description agree with them."""
    sae = made()
    save_sae(folder, sae)
    tensors = load_file(folder / "sae.safetensors")
    change(tensors)
    save_file(tensors, folder / "sae.safetensors")
    about = json.loads((folder / "sae.json").read_text())
    about["weights_sha256"] = files._digest(tensors)
    (folder / "sae.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("b_dec"), "b_dec is missing"),
        (lambda t: t.update(W_dec=torch.ones(F, D + 1)), r"W_dec is \(16, 7\)"),
        (lambda t: t.update(extra=torch.ones(2)), "should be absent"),
        (lambda t: t["W_enc"].fill_(float("nan")), "W_enc is not finite"),
    ],
)
def test_tensors_of_another_autoencoder_are_refused(tmp_path, change, said):
    _rewritten(tmp_path, change)
    with pytest.raises(CorruptFile, match=said):
        load_sae(tmp_path)


def test_a_config_that_does_not_validate_is_refused(tmp_path):
    save_sae(tmp_path, made())
    about = json.loads((tmp_path / "sae.json").read_text())
    about["config"]["k"] = 99
    (tmp_path / "sae.json").write_text(json.dumps(about))
    with pytest.raises(CorruptFile, match="k = 99"):
        load_sae(tmp_path)


def test_an_architecture_that_is_not_installed_is_named(tmp_path):
    save_sae(tmp_path, made())
    about = json.loads((tmp_path / "sae.json").read_text())
    about["config"]["architecture"] = "topkk"
    (tmp_path / "sae.json").write_text(json.dumps(about))
    with pytest.raises(UnknownName, match="did you mean 'topk'"):
        load_sae(tmp_path)


def test_a_provenance_names_real_hook_points():
    with pytest.raises(ValueError, match="is no hook point"):
        Provenance(hook_point="layer 3")


def test_an_autoencoder_fits_where_it_was_trained(policy):
    width = policy.info.pathway("vlm").width
    fitting = Trained(made(d_in=width), trained_on(policy))
    check_fits(fitting, policy, "vlm.1.resid_post")
    with pytest.raises(IncompatibleError, match="was trained at"):
        check_fits(fitting, policy, "vlm.0.resid_post")
    with pytest.raises(IncompatibleError, match=f"{width + 1} wide"):
        check_fits(Trained(made(d_in=width + 1)), policy, "vlm.1.resid_post")


def test_another_checkpoint_is_accepted_only_on_purpose(policy):
    sae = made(d_in=policy.info.pathway("vlm").width)
    for origin in (trained_on(policy, checkpoint_hash="0" * 64), Provenance()):
        with pytest.raises(IncompatibleError, match="any_checkpoint=True"):
            check_fits(Trained(sae, origin), policy, "vlm.1.resid_post")
        check_fits(Trained(sae, origin), policy, "vlm.1.resid_post", any_checkpoint=True)
