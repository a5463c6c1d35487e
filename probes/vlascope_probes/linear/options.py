"""How probes are fitted."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vlascope.hooks import HookPoint

__all__ = ["USUAL", "ProbeOptions"]

USUAL: Final = (
    "action.*",
    "gripper",
    "hand.*",
    "velocity.*",
    "object.*",
    "task",
    "phase",
    "steps_to_go",
    "success",
)
"""What is probed for unless something else is asked for."""

Globs = tuple[str, ...]


class ProbeOptions(BaseModel):
    """What is probed for, from which rows, and how it is judged.

    Attributes:
        targets: names or globs of targets (see `vlascope_probes.linear.targets`); None for
            `USUAL`, of which those that these episodes do not offer are left out.
        tokens: globs of token spans, for all pathways or by pathway; None for every token.
        pool: how the chosen tokens of a moment become one row; `none` keeps a row per token.
        call: which call of a chunk; negative ones count from the last.
        folds: groups of episodes; each is predicted by a probe fitted on the others.
        controls: label shuffles of regression targets.
        label_controls: label shuffles of classification targets, which cost a fit each.
        inverse_penalty: scikit-learn's C of the logistic probes, on standardised activations.
        held_out_tasks: also predict every task from the others.
        memory_mb: rows beyond this are streamed, never held.
        seed: of folds, shuffles and resamples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: Globs | None = None
    tokens: Globs | dict[str, Globs] | None = None
    pool: Literal["mean", "last", "max", "none"] = "mean"
    call: int = -1
    folds: Annotated[int, Field(ge=2)] = 5
    controls: Annotated[int, Field(ge=1)] = 19
    label_controls: Annotated[int, Field(ge=1)] = 5
    inverse_penalty: Annotated[float, Field(gt=0)] = 0.1
    held_out_tasks: bool = True
    memory_mb: Annotated[float, Field(gt=0)] = 512.0
    seed: int = 0

    @field_validator("targets", "tokens", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: (v,) if isinstance(v, str) else v for k, v in value.items()}
        return (value,) if isinstance(value, str) else value

    def spans_at(self, point: HookPoint) -> Globs | None:
        """The token globs of a point's pathway; None for every token."""
        if isinstance(self.tokens, dict):
            return self.tokens.get(point.pathway)
        return self.tokens
