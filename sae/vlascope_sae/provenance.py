"""What an autoencoder was trained on, and whether it belongs at a hook point of a policy."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vlascope import __version__
from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.errors import IncompatibleError
from vlascope.hooks import HookPoint
from vlascope_sae.autoencoder import SparseAutoencoder

__all__ = ["Provenance", "Trained", "check_fits"]


class Provenance(BaseModel):
    """Where an autoencoder comes from; empty where it is not known.

    How activations are normalised is part of the autoencoder itself.

    Attributes:
        adapter, checkpoint, checkpoint_hash: the policy.
        hook_point: what is read.
        output_point: what is predicted; None for the same.
        spans: globs of the token spans trained on; None for all tokens.
        pool: whether a sample is a token, or all wanted tokens of a firing reduced to one.
        calls: which calls of a chunk; None for all.
        benchmark: what was played, as text.
        samples: how many samples were trained on.
        training: the configuration of the training, whatever made it.
        source: the file or folder of another library that it was read from.
        code_version: of vlascope.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: str = ""
    checkpoint: str = ""
    checkpoint_hash: str = ""
    hook_point: str = ""
    output_point: str | None = None
    spans: tuple[str, ...] | None = None
    pool: Literal["none", "mean", "last", "max"] = "none"
    calls: tuple[int, ...] | None = None
    benchmark: str = ""
    samples: int = Field(default=0, ge=0)
    training: dict[str, Any] = Field(default_factory=dict)
    source: str = ""
    code_version: str = __version__

    @field_validator("hook_point", "output_point")
    @classmethod
    def _is_a_point(cls, name: str | None) -> str | None:
        return str(HookPoint.parse(name)) if name else name


class Trained(NamedTuple):
    """An autoencoder and where it comes from."""

    sae: SparseAutoencoder
    provenance: Provenance = Provenance()


def check_fits(
    trained: Trained,
    policy: VLAAdapter | AdapterInfo,
    point: HookPoint | str,
    *,
    any_checkpoint: bool = False,
) -> None:
    """Check that an autoencoder reads what `policy` computes at `point`.

    Args:
        trained: the autoencoder.
        policy: the policy.
        point: where its activations would be encoded.
        any_checkpoint: accept a policy with other weights, or an autoencoder that does not say
            which it was trained on; the width and the hook point are checked all the same.

    Raises:
        IncompatibleError: the width, the hook point or the checkpoint is another one.
    """
    info = policy if isinstance(policy, AdapterInfo) else policy.info
    point = HookPoint.parse(point) if isinstance(point, str) else point
    origin, d_in = trained.provenance, trained.sae.config.d_in
    width = info.pathway(point.pathway).width_at(point.site, point.layer)
    if width not in (None, d_in):
        raise IncompatibleError(
            f"the SAE reads activations {d_in} wide, {point} of {info.name} is {width} wide; "
            f"use it at {origin.hook_point or f'a point {d_in} wide'}"
        )
    if origin.hook_point and origin.hook_point != str(point):
        raise IncompatibleError(
            f"the SAE was trained at {origin.hook_point}, not at {point}; use it there, or train "
            "one here"
        )
    if not any_checkpoint and origin.checkpoint_hash != info.checkpoint_hash:
        known = f"{origin.adapter} {origin.checkpoint} ({origin.checkpoint_hash[:12]})"
        raise IncompatibleError(
            f"the SAE was trained on {known if origin.checkpoint_hash else 'an unknown policy'}, "
            f"this one is {info.name} {info.checkpoint} ({info.checkpoint_hash[:12]}); pass "
            "any_checkpoint=True to use it all the same"
        )
