"""The form every library's autoencoders share: weights in the activations' own units."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vlascope.errors import IncompatibleError
from vlascope_sae.architectures import build
from vlascope_sae.architectures.batch_topk import BatchTopK
from vlascope_sae.architectures.gated import Gated
from vlascope_sae.architectures.jumprelu import JumpReLU
from vlascope_sae.architectures.matryoshka import Matryoshka
from vlascope_sae.architectures.standard import Standard
from vlascope_sae.architectures.temporal import Temporal
from vlascope_sae.architectures.topk import TopK
from vlascope_sae.autoencoder import SparseAutoencoder

__all__ = ["Fires", "Plain", "to_ours", "to_plain"]

Fires = Literal["relu", "topk", "jumprelu", "gated"]
_ARCHITECTURE = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}


@dataclass(frozen=True, eq=False)
class Plain:
    """z = fire((x - b_dec) W_enc + b_enc), out = z W_dec + b_dec, without normalisation.

    Attributes:
        fires: every positive pre-activation, the `k` largest, those over `threshold`, or those
            whose gate is open, with exp(r_mag) (x - b_dec) W_enc + b_mag.
        W_enc, b_enc, W_dec, b_dec: in SAELens' orientation; of a gated one, `b_enc` is the gates'.
        centred: whether `b_dec` is subtracted from the input.
        is_transcoder: whether another site is predicted.
        signed: whether negative numbers among the `k` largest are kept.
        notes: what was rewritten on the way here.
    """

    fires: Fires
    W_enc: Float[Tensor, "d f"]
    b_enc: Float[Tensor, " f"]
    W_dec: Float[Tensor, "f o"]
    b_dec: Float[Tensor, " o"]
    centred: bool = True
    is_transcoder: bool = False
    k: int | None = None
    signed: bool = False
    threshold: Float[Tensor, " f"] | None = None
    b_mag: Float[Tensor, " f"] | None = None
    r_mag: Float[Tensor, " f"] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.centred and self.is_transcoder:
            raise ValueError("b_dec of a transcoder lives at another site than its input")


@torch.no_grad()
def to_plain(sae: SparseAutoencoder) -> Plain:
    """An autoencoder of ours as plain weights, computed in float64 and given in float32.

    Raises:
        IncompatibleError: its normalisation differs from row to row, or what it computes at
            inference has no plain form.
    """
    notes: list[str] = []
    exact = copy.deepcopy(sae).double()
    if sae.config.normalise != "none":
        exact = exact.fold()
        notes.append(f"the {sae.config.normalise} normalisation is folded into the weights")
    settings: dict[str, Any] = {}
    if type(exact) in (BatchTopK, Matryoshka):
        assert isinstance(exact, BatchTopK)
        settings = {"fires": "jumprelu", "threshold": exact.threshold.expand_as(exact.b_enc)}
        notes.append("the threshold learned in training is written out as a JumpReLU's")
    elif type(exact) in (TopK, Temporal):
        assert isinstance(exact, TopK)
        settings = {"fires": "topk", "k": exact.settings.k, "signed": exact.settings.signed}
    elif type(exact) is JumpReLU:
        settings = {"fires": "jumprelu", "threshold": exact.threshold}
    elif type(exact) is Gated:
        settings = {"fires": "gated", "b_mag": exact.b_mag, "r_mag": exact.r_mag}
    elif type(exact) is Standard:
        settings = {"fires": "relu"}
    else:
        raise IncompatibleError(
            f"{sae.config.architecture} ({type(sae).__name__}) has no form that other libraries "
            "know: it can be saved in vlascope's own format only"
        )
    settings |= {name: getattr(exact, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    for name, value in settings.items():
        if isinstance(value, Tensor):
            settings[name] = value.float().contiguous()
    return Plain(
        **settings,
        centred=not sae.is_transcoder,
        is_transcoder=sae.is_transcoder,
        notes=tuple(notes),
    )


@torch.no_grad()
def to_ours(plain: Plain) -> SparseAutoencoder:
    """Plain weights as an autoencoder of ours, which subtracts `b_dec` unless it is a transcoder.

    Half precision is read as float32.
    """
    d_in, d_sae = plain.W_enc.shape
    norms = plain.W_dec.float().norm(dim=1)
    config: dict[str, Any] = {
        "architecture": _ARCHITECTURE[plain.fires],
        "d_in": d_in,
        "d_sae": d_sae,
        "d_out": plain.W_dec.shape[1] if plain.is_transcoder else None,
        "unit_decoder": bool(torch.allclose(norms, torch.ones_like(norms), atol=1e-4)),
    }
    if plain.fires == "topk":
        config |= {"k": plain.k, "signed": plain.signed}
    sae = build(config)
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "b_mag", "r_mag"):
        value = getattr(plain, name)
        if value is not None:
            getattr(sae, name).copy_(value)
    if isinstance(sae, JumpReLU) and plain.threshold is not None:
        # a negative threshold lets nothing through that 0 would hold back, as latents are positive
        sae.log_threshold.copy_(plain.threshold.double().clamp_min(1e-30).log())
    if not plain.centred and not plain.is_transcoder:
        sae.shift_encoder_bias((plain.b_dec.double() @ plain.W_enc.double()).to(sae.b_enc))
    return sae.eval()
