"""What every edit has in common: where and when it acts, and that it is plain data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from torch import Tensor

from vlascope.hooks import Firing, HookPoint, Moment

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vlascope.adapter import AdapterInfo
    from vlascope.types import Observation

__all__ = ["Intervention"]

_WHERE: Final = ("at", "calls", "steps", "tokens", "episodes")


class Intervention(BaseModel, ABC):
    """An edit at every hook point that `at` names, restricted as its other fields say.

    A frozen pydantic model: `model_dump` and `parse_intervention` are exact inverses. Subclasses
    set `kind` (their registered name, written as the first key) and write `edit`.

    Attributes:
        at: globs of hook points.
        calls: which calls of a chunk (None: all).
        steps: half-open range of environment steps at which chunks begin (None: all).
        tokens: globs of token spans (None: every token).
        episodes: names of episodes (None: all).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    kind: ClassVar[str]

    at: tuple[str, ...]
    calls: tuple[int, ...] | None = None
    steps: tuple[Annotated[int, Field(ge=0)], int] | None = None
    tokens: tuple[str, ...] | None = None
    episodes: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "kind" not in data:
            return data
        if data["kind"] != cls.kind:
            raise ValueError(f"this is a {data['kind']!r}, not a {cls.kind!r}")
        return {key: value for key, value in data.items() if key != "kind"}

    @model_serializer(mode="wrap")
    def _write_kind(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}

    @field_validator("at", "tokens", "episodes", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @abstractmethod
    def edit(self, activation: Tensor, firing: Firing) -> Tensor:
        """The activation to go on with, (rows, tokens, width) like the one given.

        Called with the rows this edit concerns; which of the result's tokens are used is
        decided by `tokens`, so an edit may compute all of them. Must not write in place.

        Raises:
            MisalignedActivations: what should go in does not line up with what is there.
        """

    @classmethod
    def control(cls, role: str, written: Mapping[str, Any]) -> dict[str, Any] | None:
        """The edit that shows what `written` would do if it meant nothing.

        Args:
            role: `identity`, `random_direction`, or one that only some kinds know, such as
                `matched` (features that fire as often) and `random_subspace`.
            written: an edit of this kind, as a study writes it.

        Returns:
            Another edit in the same form; None where this kind has none for that role.
        """
        where = {field: written[field] for field in _WHERE if field in written}
        if role == "identity":
            return {"kind": "identity", **where}
        if role == "random_direction":
            return {"kind": "random_direction", **where, "like": dict(written)}
        return None

    def check(self, info: AdapterInfo, points: Sequence[HookPoint]) -> None:
        """Refuse, before anything is inferred, a policy or hook points that do not suit this edit.

        Raises:
            IncompatibleError: saying what does not fit and what to do.
        """

    def observe(
        self, moments: Sequence[Moment], observations: Sequence[Observation], info: AdapterInfo
    ) -> None:
        """See what every row is about to be inferred from; called before each inference.

        For edits that follow what happens (a controller). What is remembered belongs to the
        moment's episode: it starts anew at chunk 0 and is dropped by `forget`, so that neither
        the batch nor an interruption changes an episode.
        """

    def forget(self, episode: str) -> None:
        """Drop what is remembered of an episode that is over."""

    def log(self, episode: str) -> Mapping[str, npt.NDArray[np.float32]]:
        """What is worth keeping of an episode beside its receipt, (updates,) by name."""
        return {}

    def concerns(self, point: HookPoint, moment: Moment) -> bool:
        """Whether a row of `point` is edited at this moment (its call is tested apart)."""
        if self.episodes is not None and moment.episode not in self.episodes:
            return False
        return self.steps is None or self.steps[0] <= moment.step < self.steps[1]

    def restricted(self, **limits: Any) -> Self:
        """The same edit with other `at`, `calls`, `steps`, `tokens` or `episodes`."""
        return type(self).model_validate({**self.__dict__, **limits})
