"""Other libraries' files: the same latents and outputs as they computed, or a clear refusal.

`data/make.py` says which libraries, of which versions, wrote the files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from vlascope.errors import (
    AlreadyThere,
    CorruptFile,
    FileMissing,
    IncompatibleError,
    UnknownName,
)
from vlascope_sae.architectures import build
from vlascope_sae.architectures.standard import Standard, StandardConfig
from vlascope_sae.files import Provenance, Trained, load_sae, save_sae
from vlascope_sae.interchange import read_foreign, recognise, write_foreign

DATA = Path(__file__).parent / "data"
REFUSED = {
    "saelens/standard_layer_norm": "1e-5",
    "saelens/skip_transcoder": "skip_transcoder",
    "sparsify/skip": "skip_connection",
    "sparsify/groupmax": "groupmax",
}
CASES = sorted(
    str(path.parent.relative_to(DATA))
    for path in DATA.glob("*/*/io.safetensors")
    if str(path.parent.relative_to(DATA)) not in REFUSED
)
ARCHITECTURES = {
    "standard": {},
    "topk": {"k": 3},
    "temporal": {"k": 3},
    "batch_topk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (0.5, 1.0)},
    "jumprelu": {},
    "gated": {},
}
D, F = 6, 16


def made(architecture, normalise="none", **settings):
    """A trained-looking autoencoder: numbers in every tensor, normalisation fitted."""
    torch.manual_seed(3)
    settings = {"d_in": D, "d_sae": F, "normalise": normalise} | settings
    sae = build({"architecture": architecture, **ARCHITECTURES[architecture], **settings})
    target = rows(o) if (o := settings.get("d_out")) else None
    sae.initialise(rows(D), target)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        if architecture in ("batch_topk", "matryoshka"):
            sae.threshold.fill_(0.4)
        if architecture == "jumprelu":
            sae.log_threshold.copy_((0.1 + torch.rand(F)).log())
    return sae.eval()


def rows(d=D, n=200):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, d, generator=generator) * torch.linspace(0.5, 4, d) + 2


def changed(case, folder, **settings):
    """A copy of a case with other settings in its `cfg.json`."""
    shutil.copytree(DATA / case, folder)
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("case", CASES)
def test_latents_and_outputs_are_those_of_the_library_that_wrote_the_file(case):
    seen = load_file(DATA / case / "io.safetensors")
    sae = read_foreign(DATA / case).sae
    assert_close(sae.encode(seen["x"]), seen["latents"], rtol=1e-5, atol=1e-5)
    assert_close(sae(seen["x"]), seen["out"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("library", ["saelens", "dictionary_learning", "sparsify"])
def test_cases_of_every_library_are_there_and_fire(library):
    mine = [case for case in CASES if case.startswith(f"{library}/")]
    assert len(mine) >= 3
    for case in mine:
        latents = load_file(DATA / case / "io.safetensors")["latents"]
        assert 0 < (latents > 0).float().mean() < 1
        assert recognise(DATA / case) == library


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_would_be_lost_is_refused_by_name(case):
    with pytest.raises(IncompatibleError, match=REFUSED[case]):
        read_foreign(DATA / case)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normalize_activations": "expected_average_only_in"}, "fold_activation_norm"),
        ({"normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
        ({"reshape_activations": "hook_z"}, "attention heads"),
        ({"finetuning_scaling_factor": True}, "fine-tuning"),
        ({"architecture": "batchtopk"}, "save_inference_model"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused(tmp_path, settings, said):
    with pytest.raises(IncompatibleError, match=said):
        read_foreign(changed("saelens/standard", tmp_path / "s", **settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"d_sae": 17}, r"W_enc is \(6, 16\), should be \(6, 17\)"),
        ({"architecture": "jumprelu"}, "threshold is missing"),
        ({"d_in": None}, "is it SAELens"),
    ],
)
def test_weights_that_are_not_what_the_settings_say_are_refused(tmp_path, settings, said):
    with pytest.raises(CorruptFile, match=said):
        read_foreign(changed("saelens/standard", tmp_path / "s", **settings))


@pytest.mark.parametrize("case", ["saelens/topk", "sparsify/topk", "dictionary_learning/topk"])
@pytest.mark.parametrize("damage", ["truncated", "foreign", "no settings"])
def test_a_damaged_file_is_refused(tmp_path, case, damage):
    folder = Path(shutil.copytree(DATA / case, tmp_path / "damaged"))
    weights = next(p for p in folder.iterdir() if p.suffix != ".json" and p.stem != "io")
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-40])
    elif damage == "foreign":
        weights.write_bytes(b"not a tensor in sight")
    else:
        next(folder.glob("*.json")).write_text("{")
    with pytest.raises(CorruptFile):
        read_foreign(folder)


def test_a_pickle_that_holds_code_is_never_run(tmp_path):
    folder = Path(shutil.copytree(DATA / "dictionary_learning/topk", tmp_path / "evil"))
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (ran,))

    torch.save({"encoder.weight": Evil()}, folder / "ae.pt")
    with pytest.raises(CorruptFile, match="never run"):
        read_foreign(folder)
    assert not ran.exists()


def test_a_folder_of_nobody_lists_the_layouts(tmp_path):
    with pytest.raises(FileMissing, match=r"saelens: cfg\.json and sae_weights\.safetensors"):
        read_foreign(tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'saelens'"):
        read_foreign(tmp_path, "saelen")


@pytest.mark.parametrize("normalise", ["none", "zscore", "unit_norm"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_what_is_exported_to_saelens_reads_back_with_equal_outputs(
    tmp_path, architecture, normalise
):
    sae, x = made(architecture, normalise), rows()
    origin = Provenance(adapter="toy", hook_point="vlm.1.resid_post", spans=("image.*",))
    notes = write_foreign(Trained(sae, origin), tmp_path, "saelens")
    assert any("folded" in note for note in notes) == (normalise != "none")
    back = read_foreign(tmp_path)
    assert_close(back.sae.encode(x), sae.encode(x), rtol=1e-5, atol=1e-5)
    assert_close(back.sae(x), sae(x), rtol=1e-5, atol=1e-5)
    assert back.provenance == origin


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "batch_topk"])
def test_transcoders_are_exported_where_saelens_has_them(tmp_path, architecture):
    sae, x = made(architecture, "zscore", d_out=4), rows()
    write_foreign(Trained(sae), tmp_path, "saelens")
    back = read_foreign(tmp_path).sae
    assert_close(back(x), sae(x), rtol=1e-5, atol=1e-5)
    assert back(x).shape == (200, 4)


class Unheard(Standard):
    config_class = StandardConfig


@pytest.mark.parametrize(
    ("sae", "said"),
    [
        (lambda: made("topk", d_out=4), "no topk transcoder"),
        (lambda: made("topk", signed=True), "negative latents"),
        (lambda: made("topk", "layer_norm"), "each row's own scale"),
        (lambda: Unheard(StandardConfig(d_in=D, d_sae=F)), "own format only"),
    ],
)
def test_what_saelens_cannot_compute_is_not_exported(tmp_path, sae, said):
    with pytest.raises(IncompatibleError, match=said):
        write_foreign(Trained(sae()), tmp_path / "out", "saelens")
    assert not (tmp_path / "out").exists()


def test_exporting_leaves_the_autoencoder_and_other_folders_alone(tmp_path):
    sae = made("topk", "zscore")
    before = {name: value.clone() for name, value in sae.state_dict().items()}
    write_foreign(Trained(sae), tmp_path, "saelens")
    with pytest.raises(AlreadyThere, match="holds an SAE"):
        write_foreign(Trained(sae), tmp_path, "saelens")
    assert sae.config.normalise == "zscore"
    assert all(torch.equal(value, before[name]) for name, value in sae.state_dict().items())
    with pytest.raises(UnknownName, match="there is: saelens, vlascope"):
        write_foreign(Trained(sae), tmp_path, "onnx")


@pytest.mark.parametrize("normalise", ["none", "zscore", "unit_norm", "layer_norm"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_form_for_inference_computes_the_same(tmp_path, architecture, normalise):
    sae, x = made(architecture, normalise), rows()
    write_foreign(Trained(sae), tmp_path, "vlascope")
    back = load_sae(tmp_path).sae
    assert back.config.normalise == ("layer_norm" if normalise == "layer_norm" else "none")
    assert back.config.architecture not in ("batch_topk", "matryoshka")
    assert_close(back.encode(x), sae.encode(x), rtol=1e-5, atol=1e-5)
    assert_close(back(x), sae(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_was_imported_can_be_kept_in_our_own_format(tmp_path, case):
    sae, provenance = read_foreign(DATA / case)
    back = load_sae(save_sae(tmp_path, sae, provenance))
    x = load_file(DATA / case / "io.safetensors")["x"]
    assert torch.equal(back.sae(x), sae(x))
    assert back.provenance.source.endswith(case)


def test_half_precision_is_read_as_float32(tmp_path):
    folder = Path(shutil.copytree(DATA / "saelens/topk", tmp_path / "half"))
    tensors = load_file(folder / "sae_weights.safetensors")
    save_file({k: t.bfloat16() for k, t in tensors.items()}, folder / "sae_weights.safetensors")
    assert read_foreign(folder).sae.W_enc.dtype == torch.float32
