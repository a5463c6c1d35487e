"""Edits made with an autoencoder while a policy acts: its reconstruction, or some of its features.

Every token is encoded by itself. An autoencoder that was trained on pooled activations (the mean
over a span, say) is applied to each token just like one trained on tokens, so that both kinds are
compared with the same splice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, PrivateAttr, field_validator, model_validator
from torch import Tensor

from vlascope.errors import IncompatibleError, MisalignedActivations
from vlascope.hooks import Firing, HookPoint
from vlascope.interventions import Intervention
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.fitting import refuse_elsewhere, refuse_other_units
from vlascope_sae.reference import SAEField, SAEReference, as_reference

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo

__all__ = ["FeatureEdit", "Reconstruct", "SAESplice", "direction_scale"]

_BLOCK = 8192
"""Rows encoded at a time, so that dense latents of long sequences do not fill the memory."""


class SAESplice(Intervention):
    """An edit that goes through an autoencoder, token by token.

    Attributes:
        sae: its folder, loaded on first use and kept.
        any_checkpoint: allow a policy with other weights than it was trained on.
        weights_sha256: refuse the folder where it holds other weights than these (`sae.json` says
            which it holds); empty for whatever is there.
    """

    sae: SAEField
    any_checkpoint: bool = False
    weights_sha256: str = ""
    _seen: set[HookPoint] = PrivateAttr(default_factory=set)

    @classmethod
    def where_trained(
        cls, sae: SAEReference | SparseAutoencoder | str | Path, **fields: Any
    ) -> Self:
        """The edit at the hook point, tokens and calls that the autoencoder was trained on.

        Args:
            sae: usually its folder.
            fields: what else the edit takes; `at`, `tokens` and `calls` given here count.

        Raises:
            IncompatibleError: it does not say where it was trained, and `at` is not given.
        """
        reference = as_reference(sae)
        origin = reference.trained().provenance
        place = {"at": origin.hook_point, "tokens": origin.spans, "calls": origin.calls} | fields
        if not place["at"]:
            raise IncompatibleError(
                f"{reference} does not say at which hook point it was trained; give `at`"
            )
        return cls(sae=reference, **place)

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """Refuse another width, place or checkpoint than trained on; see `refuse_elsewhere`."""
        refuse_elsewhere(
            self.sae,
            info,
            points,
            any_checkpoint=self.any_checkpoint,
            weights_sha256=self.weights_sha256,
        )

    def pinned(self) -> Self:
        """The same edit, with these very weights and no others that come to lie in the folder."""
        return self.restricted(weights_sha256=self.sae.weights_sha256)

    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """Every token that `tokens` names edited by itself; the others are not even encoded."""
        sae = self.sae.sae(activation.device)
        if activation.shape[-1] != sae.config.d_in:
            raise MisalignedActivations(
                f"{self.sae} reads activations {sae.config.d_in} wide, {firing.point} is "
                f"{activation.shape[-1]} wide: splice it where it was trained"
            )
        chosen = self._chosen(activation, firing)
        rows = activation[chosen].to(sae.W_dec.dtype)
        if not len(rows):
            return activation.clone()
        if firing.point not in self._seen:
            refuse_other_units(self.sae, rows, firing.point)
            self._seen.add(firing.point)
        starts = range(0, len(rows), _BLOCK)
        edited = torch.cat([self.edit_rows(sae, rows[i : i + _BLOCK]) for i in starts])
        return activation.index_put((chosen,), edited.to(activation.dtype))

    def _chosen(self, activation: Tensor, firing: Firing) -> Tensor:
        """Which tokens, (rows, tokens): all, or those of the spans that `tokens` names."""
        shape = activation.shape[:2]
        if self.tokens is None or not firing.spans:
            return torch.ones(shape, dtype=torch.bool, device=activation.device)
        chosen = torch.zeros(shape, dtype=torch.bool)
        for row, spans in enumerate(firing.spans):
            for name in spans.match(self.tokens):
                chosen[row, spans[name]] = True
        return chosen.to(activation.device)

    @abstractmethod
    def edit_rows(
        self, sae: SparseAutoencoder, x: Float[Tensor, "rows d"]
    ) -> Float[Tensor, "rows d"]:
        """What becomes of activations in the autoencoder's own precision."""


class Reconstruct(SAESplice):
    """Replace by what the autoencoder makes of it: x' = Dec(Enc(x)); the error term is dropped."""

    kind: ClassVar[str] = "sae_reconstruct"

    def edit_rows(
        self, sae: SparseAutoencoder, x: Float[Tensor, "rows d"]
    ) -> Float[Tensor, "rows d"]:
        """The reconstruction."""
        return sae(x)


class FeatureEdit(SAESplice):
    """Change some latents and keep everything else: x' = x + Dec(z') - Dec(z).

    The part of x that the autoencoder does not explain stays, and where no edited latent changes,
    x' equals x bit for bit.

    Attributes:
        features: indices of latents.
        mode: `scale` multiplies by `value`, `clamp` holds at `value` whether the latent fires or
            not, `add` adds `value` but never takes a positive latent below zero, `ablate` sets to
            zero.
        value: in units of latents, or a factor; none for `ablate`.
        index: folder of a feature index, from which the role `matched` takes firing rates; see
            `vlascope_sae.controls.MatchedFeatureEdit`.
    """

    kind: ClassVar[str] = "sae_feature"
    features: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    mode: Literal["scale", "clamp", "ablate", "add"]
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    index: str = ""

    @classmethod
    def control(cls, role: str, written: Mapping[str, Any]) -> dict[str, Any] | None:
        """Also `matched`: the same edit of features that fire as often."""
        if role == "matched":
            return {**written, "kind": "sae_feature_matched"}
        return super().control(role, written)

    @field_validator("features", mode="before")
    @classmethod
    def _one_feature(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _value_where_needed(self) -> Self:
        if (self.value is None) != (self.mode == "ablate"):
            raise ValueError("`ablate` takes no value; `scale`, `clamp` and `add` need one")
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"a feature is named twice: {list(self.features)}")
        return self

    def edit_rows(
        self, sae: SparseAutoencoder, x: Float[Tensor, "rows d"]
    ) -> Float[Tensor, "rows d"]:
        """The activations moved along the decoder rows of the latents that changed."""
        chosen = self._known(sae)
        before = sae.encode(x)[:, chosen]
        moved = (self._changed(before) - before) @ sae.W_dec[chosen]
        return x + moved * direction_scale(sae, x)

    def _changed(self, z: Tensor) -> Tensor:
        value = 0.0 if self.value is None else self.value
        if self.mode == "scale":
            return z * value
        if self.mode == "add":
            return torch.where(z < 0, z + value, (z + value).clamp_min(0))
        return torch.full_like(z, value)

    def _known(self, sae: SparseAutoencoder) -> list[int]:
        outside = [f for f in self.features if f >= sae.config.d_sae]
        if outside:
            raise MisalignedActivations(
                f"{self.sae} has features 0..{sae.config.d_sae - 1}; there is no {outside}"
            )
        return list(self.features)


def direction_scale(
    sae: SparseAutoencoder, x: Float[Tensor, "rows d"]
) -> Float[Tensor, "*rows d"] | Float[Tensor, "rows 1"]:
    """What carries a difference of normalised outputs to a difference of activations."""
    if sae.normalise_out.foldable:
        return sae.normalise_out.std
    _, sample = sae.normalise_out(x)
    assert sample is not None  # normalisation by row remembers each row
    return sample.scale
