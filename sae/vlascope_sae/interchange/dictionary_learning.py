"""Reading dictionary_learning's layout: `config.json` and `ae.pt`, one set of names per class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope_sae.interchange.plain import Plain, to_ours
from vlascope_sae.interchange.raw import check_names, read_json, read_pickle
from vlascope_sae.provenance import Provenance, Trained

__all__ = ["CONFIG", "WEIGHTS", "read"]

CONFIG = "config.json"
WEIGHTS = "ae.pt"

Tensors = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def read(folder: str | Path) -> Trained:
    """Read a dictionary, with the latents of its weights as they were saved.

    The library's own `load_dictionary` rescales the latents of an `AutoEncoder` to decoder rows
    of norm 1; outputs are the same.

    Raises:
        FileMissing: a file is not there.
        CorruptFile: a file is truncated, or its tensors are not those of its class.
        IncompatibleError: there is no such class here.
    """
    folder = Path(folder)
    config, path = read_json(folder / CONFIG), folder / WEIGHTS
    try:
        about = config["trainer"]
        kind, d, f = about["dict_class"], int(about["activation_dim"]), int(about["dict_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"{folder / CONFIG} does not say {error} of its trainer: is it dictionary_learning's?"
        ) from error
    if kind not in _CLASSES:
        raise IncompatibleError(f"{folder} holds a {kind}; what is read is {', '.join(_CLASSES)}")
    shapes, form = _CLASSES[kind]
    tensors = read_pickle(path)
    check_names(path, tensors, shapes(d, f), ignored=("group_sizes",))
    provenance = Provenance(source=f"dictionary_learning: {folder}", training=about)
    return Trained(to_ours(form(tensors)), provenance)


def _linear_shapes(d: int, f: int) -> Shapes:
    return {"encoder.weight": (f, d), "decoder.weight": (d, f)}


def _relu(t: Tensors) -> Plain:
    encoder, decoder = t["encoder.weight"].T, t["decoder.weight"].T
    return Plain("relu", encoder, t["encoder.bias"], decoder, t["bias"])


def _relu_uncentred(t: Tensors) -> Plain:
    encoder, decoder = t["encoder.weight"].T, t["decoder.weight"].T
    return Plain("relu", encoder, t["encoder.bias"], decoder, t["decoder.bias"], centred=False)


def _gated(t: Tensors) -> Plain:
    return Plain(
        "gated",
        t["encoder.weight"].T,
        t["gate_bias"],
        t["decoder.weight"].T,
        t["decoder_bias"],
        b_mag=t["mag_bias"],
        r_mag=t["r_mag"],
    )


def _jumprelu(t: Tensors) -> Plain:
    weights = (t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"])
    return Plain("jumprelu", *weights, centred=False, threshold=t["threshold"])


def _topk(t: Tensors) -> Plain:
    encoder, decoder = t["encoder.weight"].T, t["decoder.weight"].T
    return Plain("topk", encoder, t["encoder.bias"], decoder, t["b_dec"], k=int(t["k"]))


def _above_one_threshold(t: Tensors) -> Plain:
    """At inference one threshold for all latents; negative where training never set it."""
    if "W_enc" in t:
        encoder, bias, decoder = t["W_enc"], t["b_enc"], t["W_dec"]
    else:
        encoder, bias, decoder = t["encoder.weight"].T, t["encoder.bias"], t["decoder.weight"].T
    threshold = torch.ones_like(bias) * t["threshold"]
    return Plain("jumprelu", encoder, bias, decoder, t["b_dec"], threshold=threshold)


def _topk_shapes(d: int, f: int) -> Shapes:
    return _linear_shapes(d, f) | {"encoder.bias": (f,), "b_dec": (d,), "k": (), "threshold": ()}


def _matryoshka_shapes(d: int, f: int) -> Shapes:
    weights: Shapes = {"W_enc": (d, f), "b_enc": (f,), "W_dec": (f, d), "b_dec": (d,)}
    return weights | {"k": (), "threshold": ()}


_CLASSES: Final[dict[str, tuple[Callable[[int, int], Shapes], Callable[[Tensors], Plain]]]] = {
    "AutoEncoder": (
        lambda d, f: _linear_shapes(d, f) | {"encoder.bias": (f,), "bias": (d,)},
        _relu,
    ),
    "AutoEncoderNew": (
        lambda d, f: _linear_shapes(d, f) | {"encoder.bias": (f,), "decoder.bias": (d,)},
        _relu_uncentred,
    ),
    "GatedAutoEncoder": (
        lambda d, f: (
            _linear_shapes(d, f)
            | {"decoder_bias": (d,), "r_mag": (f,), "gate_bias": (f,), "mag_bias": (f,)}
        ),
        _gated,
    ),
    "JumpReluAutoEncoder": (
        lambda d, f: {
            "W_enc": (d, f),
            "b_enc": (f,),
            "W_dec": (f, d),
            "b_dec": (d,),
            "threshold": (f,),
        },
        _jumprelu,
    ),
    "AutoEncoderTopK": (_topk_shapes, _topk),
    "BatchTopKSAE": (_topk_shapes, _above_one_threshold),
    "MatryoshkaBatchTopKSAE": (_matryoshka_shapes, _above_one_threshold),
}
