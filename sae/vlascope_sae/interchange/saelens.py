"""SAELens' layout, both ways: `cfg.json` and `sae_weights.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor

from vlascope.errors import AlreadyThere, CorruptFile, IncompatibleError
from vlascope.store.durable import write_atomically
from vlascope_sae.interchange.plain import Fires, Plain, to_ours, to_plain
from vlascope_sae.interchange.raw import check_names, read_json, read_tensors
from vlascope_sae.provenance import Provenance, Trained

__all__ = ["CONFIG", "WEIGHTS", "read", "write"]

CONFIG: Final = "cfg.json"
WEIGHTS: Final = "sae_weights.safetensors"
_LAYOUT_VERSION: Final = "6.54.12"
"""The SAELens whose layout is written; from 6.0 on it takes the settings at their word."""

_FIRES: Final[dict[str, tuple[Fires, bool]]] = {
    "standard": ("relu", False),
    "topk": ("topk", False),
    "jumprelu": ("jumprelu", False),
    "gated": ("gated", False),
    "transcoder": ("relu", True),
    "jumprelu_transcoder": ("jumprelu", True),
}
_NAMES: Final = {"b_enc": "b_gate"}
_EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "jumprelu": ("threshold",),
    "gated": ("b_mag", "r_mag"),
}
_UNFOLDED: Final = {
    "expected_average_only_in": "scales activations by a number that is not in the file; call "
    "`sae.fold_activation_norm_scaling_factor(factor)` in SAELens and save it again",
    "layer_norm": "adds 1e-5 to each row's deviation on the way in and not on the way out, so "
    "that its outputs would not be reproduced",
    "constant_norm_rescale": "scales each row to norm sqrt(d), which no normalisation here does",
    "covariance_whitening": "whitens activations by a matrix that is not in the file; call "
    "`sae.fold_activation_whitening(...)` in SAELens and save it again",
}


def write(trained: Trained, folder: str | Path) -> tuple[str, ...]:
    """Write an autoencoder for SAELens' `SAE.load_from_disk`.

    Returns:
        What was rewritten to fit the layout, without changing latents or outputs.

    Raises:
        IncompatibleError: SAELens cannot compute what it computes; says what would be lost.
        AlreadyThere: the folder holds an autoencoder.
        DiskFull: no space left.
    """
    folder = Path(folder)
    plain = to_plain(trained.sae)
    kinds = {about: name for name, about in _FIRES.items()}
    architecture = kinds.get((plain.fires, plain.is_transcoder))
    if architecture is None:
        raise IncompatibleError(
            f"SAELens has no {plain.fires} transcoder, only ReLU and JumpReLU ones: which latents "
            "fire would be lost"
        )
    if plain.signed:
        raise IncompatibleError(
            "SAELens sets negative latents of a TopK to 0, and these are kept (signed): their "
            "part of the reconstruction would be lost"
        )
    if (folder / CONFIG).exists() or (folder / WEIGHTS).exists():
        raise AlreadyThere(f"{folder} holds an SAE; name another folder")
    names = ("W_enc", "b_enc", "W_dec", "b_dec", *_EXTRAS.get(plain.fires, ()))
    tensors = {_name(plain.fires, name): getattr(plain, name) for name in names}
    write_atomically(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    config = _config(architecture, plain, trained.provenance)
    write_atomically(folder / CONFIG, json.dumps(config, indent=1).encode() + b"\n")
    return plain.notes


def read(folder: str | Path) -> Trained:
    """Read an autoencoder that SAELens wrote, or that was written for it.

    Raises:
        FileMissing: a file is not there.
        CorruptFile: a file is truncated, or its tensors are not those its settings say.
        IncompatibleError: it computes something that no architecture here does.
    """
    folder = Path(folder)
    config = _modern(read_json(folder / CONFIG))
    architecture = str(config.get("architecture"))
    if architecture not in _FIRES:
        raise IncompatibleError(
            f"{folder} holds SAELens' {architecture!r}, which no architecture here computes; what "
            f"is read is {', '.join(_FIRES)} (one in training: save it with save_inference_model)"
        )
    _refuse_unread(folder, config)
    fires, is_transcoder = _FIRES[architecture]
    tensors, path = read_tensors(folder / WEIGHTS), folder / WEIGHTS
    try:
        d, f = int(config["d_in"]), int(config["d_sae"])
        k = int(config["k"]) if fires == "topk" else None
        o = int(config["d_out"]) if is_transcoder else d
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{folder / CONFIG} does not say {error}: is it SAELens'?") from error
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d, f), "W_dec": (f, o), "b_dec": (o,)}
    extras = _EXTRAS.get(fires, ())
    shapes |= dict.fromkeys((_name(fires, "b_enc"), *extras), (f,))
    check_names(path, tensors, shapes)
    plain = Plain(
        fires=fires,
        W_enc=tensors["W_enc"],
        b_enc=tensors[_name(fires, "b_enc")],
        W_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        threshold=tensors.get("threshold"),
        b_mag=tensors.get("b_mag"),
        r_mag=tensors.get("r_mag"),
        centred=bool(config.get("apply_b_dec_to_input", True)) and not is_transcoder,
        is_transcoder=is_transcoder,
        k=k,
    )
    if config.get("rescale_acts_by_decoder_norm"):
        plain = _rescaled(plain)
    return Trained(to_ours(plain), _provenance(folder, config))


def _name(fires: Fires, name: str) -> str:
    return _NAMES.get(name, name) if fires == "gated" else name


def _config(architecture: str, plain: Plain, provenance: Provenance) -> dict[str, Any]:
    d_in, d_sae = plain.W_enc.shape
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": plain.centred,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if plain.fires == "topk":
        config |= {"k": plain.k, "rescale_acts_by_decoder_norm": False}
    if plain.is_transcoder:
        config["d_out"] = plain.W_dec.shape[1]
    config["metadata"] = {
        "sae_lens_version": _LAYOUT_VERSION,
        "model_name": f"{provenance.adapter} {provenance.checkpoint}".strip() or None,
        "hook_name": provenance.hook_point or None,
        "vlascope": provenance.model_dump(mode="json"),
    }
    return config


def _modern(config: dict[str, Any]) -> dict[str, Any]:
    """Settings as from SAELens 6.0 on; before, the activation function had a name of its own."""
    metadata = config.get("metadata")
    version = metadata.get("sae_lens_version") if isinstance(metadata, dict) else None
    version = str(config.get("sae_lens_version") or version or "0")
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 6:
        return config
    modern = {"architecture": "standard", **config}
    function = config.get("activation_fn") or config.get("activation_fn_str") or "relu"
    arguments = config.get("activation_fn_kwargs") or {}
    if function == "topk":
        modern |= {"architecture": "topk", "k": arguments.get("k")}
    elif function != "relu":
        raise IncompatibleError(f"latents fire by {function!r}; relu and topk are read")
    return modern


def _refuse_unread(folder: Path, config: dict[str, Any]) -> None:
    """Whatever a file asks for at inference that would be lost."""
    normalise = config.get("normalize_activations") or "none"
    if normalise != "none":
        name = "expected_average_only_in" if normalise is True else str(normalise)
        reason = _UNFOLDED.get(name, "is not known here")
        raise IncompatibleError(f"{folder}: normalize_activations={name!r} {reason}")
    if config.get("reshape_activations", "none") != "none":
        raise IncompatibleError(
            f"{folder} reads all attention heads laid end to end (reshape_activations="
            f"{config['reshape_activations']!r}); no hook point here is shaped like that"
        )
    if config.get("finetuning_scaling_factor"):
        raise IncompatibleError(
            f"{folder} rescales latents after fine-tuning (finetuning_scaling_factor), which "
            "would be lost; fold it in SAELens and save it again"
        )


def _rescaled(plain: Plain) -> Plain:
    """Latents chosen by, and given in units of, their decoder rows' norms: folded, as SAELens."""
    norm: Tensor = plain.W_dec.double().norm(dim=-1)
    return Plain(
        plain.fires,
        plain.W_enc * norm,
        plain.b_enc * norm,
        plain.W_dec / norm[:, None],
        plain.b_dec,
        centred=plain.centred,
        k=plain.k,
    )


def _provenance(folder: Path, config: dict[str, Any]) -> Provenance:
    """What vlascope wrote, or else that it comes from SAELens."""
    metadata = config.get("metadata") or {}
    if "vlascope" in metadata:
        try:
            return Provenance.model_validate(metadata["vlascope"])
        except ValidationError:
            pass
    return Provenance(source=f"saelens: {folder}", training=config)
