"""Work between arms: what a study computes from its own episodes, for later arms and the report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlascope.sections import Block
from vlascope.store import Where

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo, VLAAdapter
    from vlascope.records import EpisodeRecord
    from vlascope.store import ActivationStore
    from vlascope.study.schema import Study

__all__ = ["Analysis", "AnalysisContext", "AnalysisResult"]


class AnalysisResult(BaseModel):
    """What an analysis found; kept as `result.json` beside its artefacts.

    Attributes:
        edits: interventions that arms ask for by key, as a study would write them; tensors as
            `"FILE.safetensors#KEY"`.
        sentences: what was found, each with its n and interval.
        blocks: what the report shows.
        unresolved: what these data cannot tell.
        data: JSON-like values for the recipe that asked for the analysis.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.analysis/1"] = "vlascope.analysis/1"
    edits: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    unresolved: tuple[str, ...] = ()
    data: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class AnalysisContext:
    """What an analysis may use.

    Attributes:
        study: the whole study.
        policy: the study's name of the policy.
        adapter: the policy, loaded; leave it as it is found.
        run_dir: the policy's run: `episodes.jsonl`, arrays, and the store in `activations`.
        folder: where this analysis may write.
        records: finished episodes (status `ok`) by arm.
        say: told what happens, a line each.
    """

    study: Study
    policy: str
    adapter: VLAAdapter
    run_dir: Path
    folder: Path
    records: dict[str, list[EpisodeRecord]]
    say: Callable[[str], None]

    def store(self) -> ActivationStore:
        """What the study's recording arms left.

        Raises:
            FileMissing: no arm recorded anything.
        """
        from vlascope.store import ActivationStore

        return ActivationStore.open(self.run_dir / "activations")

    def where(self, arm: str, **more: Any) -> Where:
        """The store's rows of one arm."""
        return Where(episodes=(f"{arm}/*",), **more)


class Analysis(BaseModel, ABC):
    """One piece of work, with its options as fields; subclasses set `kind` and write `run`.

    Attributes:
        arms: whose episodes it reads; it runs once they are finished, before the first arm that
            asks for its edits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]

    arms: tuple[str, ...]

    @model_validator(mode="before")
    @classmethod
    def _without_kind(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if k != "kind"} if isinstance(data, dict) else data

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """Hook-point globs to be recorded, by arm; depth thirds may be named."""
        return {}

    def check(self, info: AdapterInfo) -> None:
        """Refuse, before anything is played, a policy on which this cannot be done.

        Raises:
            VlascopeError: saying what does not fit.
        """

    @abstractmethod
    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Do the work.

        Raises:
            VlascopeError: it cannot be done on these episodes; says why.
        """
