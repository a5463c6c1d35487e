"""The contract a VLA policy fulfils to be looked into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from vlascope.errors import CapabilityMissing
from vlascope.hooks import ATTENTION_SITE, HookPoint, Moment, Pathway, TokenSpans, match_points
from vlascope.noise import generator_for
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import ActionChunk, FloatArray, Observation

if TYPE_CHECKING:
    from vlascope.intervening import Editing
    from vlascope.interventions import Intervention
    from vlascope.recording import ActivationCache, RecordSpec
    from vlascope.sessions import HookSession
    from vlascope.taps import Tap

__all__ = ["CAPABILITIES", "AdapterInfo", "VLAAdapter"]

CAPABILITIES: Mapping[str, str] = {
    "unembedding": "unembedding() gives the vocabulary of the language backbone",
    "value_vectors": "value_vectors(layer) gives the FFN's output directions",
    "attention": "attention_points() names readable attention probabilities",
    "gradients": "differentiable_actions() keeps the graph from actions to activations",
}
"""Optional abilities an adapter may declare in `capabilities`; each declared one is checked."""


@dataclass(frozen=True)
class AdapterInfo:
    """What holds of a loaded policy whatever it is shown.

    Attributes:
        name: the adapter's registered name.
        checkpoint: where the weights came from; `checkpoint_hash` is the sha256 of what was loaded.
        pathways: the stacks of blocks, in the order information flows.
        horizon: actions predicted per chunk; `executed_steps` of them are executed before the
            next inference.
        action, state, cameras: what the numbers mean.
    """

    name: str
    checkpoint: str
    checkpoint_hash: str
    pathways: tuple[Pathway, ...]
    horizon: int
    executed_steps: int
    action: ActionSpec
    state: Mapping[str, StateSpec]
    cameras: Mapping[str, CameraSpec]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.executed_steps <= self.horizon:
            raise ValueError(f"executed_steps {self.executed_steps} is not in 1..{self.horizon}")

    def pathway(self, name: str) -> Pathway:
        """The pathway of that name."""
        for pathway in self.pathways:
            if pathway.name == name:
                return pathway
        raise KeyError(f"{self.name} has no pathway {name!r}: {[p.name for p in self.pathways]}")


class VLAAdapter(ABC):
    """Makes one architecture's policies look like every other's.

    Four members are required: `from_pretrained`, `tiny`, `hook_points` and `predict_chunk`.
    Everything else follows from them or has a default.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    info: AdapterInfo
    model: nn.Module

    @classmethod
    @abstractmethod
    def from_pretrained(
        cls, checkpoint: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Self:
        """Load a real checkpoint: a hub id, a local folder, or a name the adapter bundles."""

    @classmethod
    @abstractmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The same real architecture at toy width with random weights: offline, CPU, seconds."""

    @abstractmethod
    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Every place this policy names, and how to reach it."""

    @abstractmethod
    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """The next actions for each observation; row i draws noise from `generators[i]` alone.

        Must not change the observations nor remember them. Call `infer`, which tells recorders
        and interventions which moments these rows are.
        """

    def infer(
        self,
        observations: Sequence[Observation],
        *,
        generators: Sequence[torch.Generator] | None = None,
        moments: Sequence[Moment] | None = None,
    ) -> ActionChunk:
        """Predict a chunk for every row, with all open recorders and interventions at work.

        Args:
            observations: one per row.
            generators: one per row; by default each row starts from `generator_for(0)`.
            moments: when each row happens; by default episode `row<i>`, counting chunks since
                the recorder or intervention was opened.

        Raises:
            EditMisfired: a hooked point fired another number of times than its pathway declares.
        """
        if generators is None:
            generators = [generator_for(0) for _ in observations]
        if len(generators) != len(observations):
            raise ValueError(f"{len(observations)} rows need as many generators")
        sessions = list(self._sessions)
        for session in sessions:
            session.begin(observations, moments)
        with torch.no_grad():
            chunk = self.predict_chunk(observations, generators=generators)
        for session in sessions:
            session.finish()
        return chunk

    def to(self, *, device: str, dtype: torch.dtype) -> None:
        """Run somewhere else, with weights of another type."""
        self.model.to(device=device, dtype=dtype)

    def act(
        self, observation: Observation, *, generator: torch.Generator | None = None
    ) -> FloatArray:
        """The next single action, float32 (action_dim,), re-planning every `executed_steps`."""
        if not self._queue:
            generators = None if generator is None else [generator]
            actions = self.infer([observation], generators=generators).actions[0]
            self._queue.extend(actions[: self.info.executed_steps])
        return self._queue.pop(0)

    def reset(self) -> None:
        """Forget the episode."""
        self._queue.clear()

    def match(self, pattern: str | Sequence[str]) -> list[HookPoint]:
        """The hook points a glob names (`expert.*.resid_post`), in layer order.

        Attention probabilities take part only where a glob ends in `.attn_probs`.

        Raises:
            UnknownName: a glob matches nothing; the message lists what exists.
        """
        return match_points(pattern, self._reachable(pattern), self.name)

    def tap(self, point: HookPoint) -> Tap:
        """How to reach one hook point."""
        points = self.hook_points()
        return points[point] if point in points else self.attention_points()[point]

    def record(
        self, at: str | Sequence[str] | RecordSpec
    ) -> AbstractContextManager[ActivationCache]:
        """Record the named activations of everything inferred inside the block."""
        from vlascope.recording import record

        return record(self, at)

    def intervene(self, *interventions: Intervention) -> AbstractContextManager[Editing]:
        """Apply the interventions to everything inferred inside the block."""
        from vlascope.intervening import intervene

        return intervene(self, *interventions)

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Which tokens carry what, one entry per row of this very batch.

        By pathway; where the sequence differs between blocks (a convolutional tower) or at one
        point, by `pathway.layer` or by the point's own name, which take precedence.
        """
        return {}

    def dead_points(self) -> frozenset[HookPoint]:
        """Hook points whose value cannot reach the action; they are never ranked."""
        return frozenset()

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """The language backbone's output embedding, (vocabulary, width), and its tokens."""
        raise CapabilityMissing(f"{self.name} declares no vocabulary")

    def value_vectors(self, layer: int) -> Tensor:
        """FFN output directions of a language layer, (ffn_width, width).

        Row i is w_i of FFN(x) = sum_i f_i(x) w_i (arXiv 2509.00328).
        """
        raise CapabilityMissing(f"{self.name} declares no FFN value vectors (asked: {layer})")

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Readable attention probabilities, (batch, heads, queries, keys), by point."""
        return {}

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """`predict_chunk` as a tensor (batch, horizon, action_dim) that carries gradients."""
        raise CapabilityMissing(f"{self.name} declares no gradients through inference")

    def example_observation(self, seed: int = 0) -> Observation:
        """A random observation of the declared shapes, for checks and examples."""
        rng = np.random.default_rng(seed)
        instructions = ("pick up the red block", "open the drawer", "push the button")
        return Observation(
            instruction=instructions[seed % len(instructions)],
            images={
                name: rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
                for name, camera in self.info.cameras.items()
            },
            state={
                name: rng.standard_normal(spec.dim).astype(np.float32)
                for name, spec in self.info.state.items()
            },
        )

    def _reachable(self, pattern: str | Sequence[str]) -> list[HookPoint]:
        globs = [pattern] if isinstance(pattern, str) else pattern
        attention = any(glob.endswith(f".{ATTENTION_SITE}") for glob in globs)
        return [*self.hook_points(), *(self.attention_points() if attention else ())]

    @property
    def _sessions(self) -> list[HookSession]:
        """Open recorders and interventions, oldest first."""
        return vars(self).setdefault("_open_sessions", [])

    @property
    def _queue(self) -> list[Any]:
        return vars(self).setdefault("_planned", [])
