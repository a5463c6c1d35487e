"""What a study says of the autoencoders it wants, free of any policy's widths and layers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlascope.errors import IncompatibleError

__all__ = ["FEWEST_EPISODES", "At", "Per", "SAEOptions"]

Per = Literal["token", "pooled"]
Third = Literal["early", "mid", "late"]

FEWEST_EPISODES: Final = 4
"""With fewer there is nothing to train on and at least two episodes to hold out for an interval."""

_CENTRES: Final[dict[Third, float]] = {"early": 1 / 6, "mid": 1 / 2, "late": 5 / 6}
_DEFAULT_L0: Final = 1 / 8


class At(BaseModel):
    """One layer in each of several pathways.

    Attributes:
        pathways: stacks of blocks; one that a policy does not have is said to be missing.
        depth: relative: the layer in the middle of a third, or at a share of the depth, 0 to 1.
        site: where in the block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pathways: Annotated[tuple[str, ...], Field(min_length=1)]
    depth: Third | Annotated[float, Field(ge=0, le=1)] = "mid"
    site: str = "resid_post"

    @field_validator("pathways", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def share(self) -> float:
        """The depth as a share."""
        return _CENTRES[self.depth] if isinstance(self.depth, str) else self.depth

    @property
    def third(self) -> Third:
        """The depth as a third."""
        if isinstance(self.depth, str):
            return self.depth
        return "early" if self.depth < 1 / 3 else "mid" if self.depth < 2 / 3 else "late"

    def glob(self, pathway: str) -> str:
        """The hook point as a study names it (`vlm.50%.resid_post`)."""
        return f"{pathway}.{round(100 * self.share)}%.{self.site}"


class SAEOptions(BaseModel):
    """Which autoencoders are trained, on which rows, and how they are judged.

    Attributes:
        at: where.
        architecture: `topk`, or `batch_topk` (k per row on average).
        expansion: latents per dimension of the activation.
        k: how many latents fire per row; or
        l0: the same as a share of the activation's dimensions (1/8 where neither is given).
        other_l0: further sparsities, as shares of the dimensions: trained in the same pass and
            judged by reconstruction and plans, not played.
        per: `token` learns from every token, `pooled` from the mean over the tokens of a firing;
            both are spliced in token by token.
        steps, batch_size: of training.
        lr: at its highest; None for the recommended one.
        normalise: what happens to activations first; the published fits are of latents of rows
            normalised one by one (`layer_norm`), and their units count.
        tokens: globs of token spans; None for every token but padding.
        calls: which calls of a chunk; None for all.
        rows: token rows held in memory; of more, a random share of every episode is taken.
        validation: share of the episodes held out.
        situations: at how many moments of held-out episodes the action's error is measured.
        fit: which published fit tells general from memorised; empty for the first.
        seed: of the split, the weights and the order of rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: At
    architecture: Literal["topk", "batch_topk"] = "topk"
    expansion: Annotated[float, Field(gt=0)] = 4.0
    k: Annotated[int, Field(ge=1)] | None = None
    l0: Annotated[float, Field(gt=0, le=1)] | None = None
    other_l0: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    per: Annotated[tuple[Per, ...], Field(min_length=1)] = ("token", "pooled")
    steps: Annotated[int, Field(ge=1)] = 1000
    batch_size: Annotated[int, Field(ge=2)] = 256
    lr: Annotated[float, Field(gt=0)] | None = None
    normalise: Literal["none", "zscore", "unit_norm", "layer_norm"] = "layer_norm"
    tokens: tuple[str, ...] | None = None
    calls: tuple[int, ...] | None = None
    rows: Annotated[int, Field(ge=100)] = 200_000
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.25
    situations: Annotated[int, Field(ge=1)] = 32
    fit: Annotated[str, Field(validate_default=True)] = ""
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("per", "tokens", "calls", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | int) else value

    @field_validator("per")
    @classmethod
    def _each_once(cls, value: tuple[Per, ...]) -> tuple[Per, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"`per` names one twice: {list(value)}")
        return value

    @field_validator("other_l0")
    @classmethod
    def _others_once(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len({round(1 / l0) for l0 in value}) < len(value):
            raise ValueError(f"two of `other_l0` are all but the same: {list(value)}")
        return value

    @field_validator("fit")
    @classmethod
    def _published(cls, value: str) -> str:
        from vlascope_sae.features.classifying import published_fits

        return next(iter(published_fits(value or None)))

    @model_validator(mode="after")
    def _one_sparsity(self) -> SAEOptions:
        if self.k is not None and self.l0 is not None:
            raise ValueError(
                "give `k`, a number of latents, or `l0`, a share of the width; not both"
            )
        return self

    def config(self, d_in: int, l0: float | None = None) -> dict[str, Any]:
        """The autoencoder for activations of a width, as `build` takes it.

        Args:
            d_in: the width.
            l0: one of `other_l0`; None for the sparsity that is played.

        Raises:
            IncompatibleError: more latents are to fire than there are.
        """
        d_sae = max(1, round(self.expansion * d_in))
        share = l0 or self.l0 or _DEFAULT_L0
        k = self.k if self.k and l0 is None else max(1, round(share * d_in))
        if k > d_sae:
            raise IncompatibleError(
                f"k = {k} of {d_sae} latents ({self.expansion:g} times a width of {d_in}): give a "
                "smaller `k`, `l0` as a share of the width, or a larger `expansion`"
            )
        return {
            "architecture": self.architecture,
            "d_in": d_in,
            "d_sae": d_sae,
            "k": k,
            "normalise": self.normalise,
            "dead_after": max(1, self.steps * self.batch_size // 10),
            "aux_k": max(1, d_in // 2),
            "seed": self.seed,
        }
