"""Applying interventions, and the receipts that say what each of them actually did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from vlascope.errors import EditMisfired, MisalignedActivations
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.sessions import HookSession

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vlascope.adapter import VLAAdapter
    from vlascope.interventions import Intervention
    from vlascope.types import Observation

__all__ = ["EditSession", "Editing", "Receipt", "Tally", "intervene"]


class Receipt(BaseModel):
    """What one intervention did, over one episode or over everything in its block.

    Attributes:
        kind, at: which intervention.
        points: how many hook points its globs named.
        fired: row edits by call, summed over points and chunks.
        expected: how many row edits its declaration amounts to.
        mismatches: rows that should have been edited and could not be (their token globs named
            no span of theirs, or the source episode was over).
        dx_ratio_mean, dx_ratio_max: ||dx|| / ||x|| over whole rows; None where nothing was edited.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    at: tuple[str, ...]
    points: int
    fired: dict[int, int]
    expected: int
    mismatches: int
    dx_ratio_mean: float | None
    dx_ratio_max: float | None

    @property
    def edits(self) -> int:
        """Row edits in all."""
        return sum(self.fired.values())


@dataclass(frozen=True)
class Tally:
    """One firing that edited: which episodes, and by how much."""

    episodes: tuple[str, ...]
    call: int
    ratios: Tensor

    def ratios_of(self, episode: str | None) -> list[float]:
        """The ratios of one episode's rows, or of all."""
        if episode is not None and episode not in self.episodes:
            return []
        rows = zip(self.episodes, self.ratios.tolist(), strict=True)
        return [ratio for name, ratio in rows if episode in (None, name)]

    def without(self, episode: str) -> Tally:
        """The same firing, of the other episodes."""
        if episode not in self.episodes:
            return self
        rest = [i for i, name in enumerate(self.episodes) if name != episode]
        return Tally(tuple(self.episodes[i] for i in rest), self.call, self.ratios[rest])


@dataclass
class _Sum:
    """Totals over firings."""

    fired: Counter[int] = field(default_factory=Counter)
    ratio_sum: float = 0.0
    ratio_max: float | None = None
    expected: int = 0
    missed: int = 0

    def copy(self) -> _Sum:
        return replace(self, fired=self.fired.copy())

    def add(self, call: int, ratios: Sequence[float]) -> None:
        if ratios:
            self.fired[call] += len(ratios)
            self.ratio_sum += sum(ratios)
            self.ratio_max = max(ratios) if self.ratio_max is None else max(self.ratio_max, *ratios)

    def receipt(self, intervention: Intervention, points: int) -> Receipt:
        edits = sum(self.fired.values())
        return Receipt(
            kind=intervention.kind,
            at=intervention.at,
            points=points,
            fired=dict(sorted(self.fired.items())),
            expected=self.expected,
            mismatches=self.missed,
            dx_ratio_mean=self.ratio_sum / edits if edits else None,
            dx_ratio_max=self.ratio_max,
        )


class EditSession(HookSession):
    """One intervention at all its points."""

    def __init__(self, adapter: VLAAdapter, intervention: Intervention) -> None:
        super().__init__(adapter, adapter.match(intervention.at))
        intervention.check(adapter.info, self.points)
        self.intervention = intervention
        self._tallies: list[Tally] = []
        self._expected: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._forgotten = _Sum()
        self._refuse_impossible_calls()

    def begin(self, observations: Sequence[Observation], moments: Sequence[Moment] | None) -> None:
        """Let the intervention see what is about to be inferred from."""
        super().begin(observations, moments)
        self.intervention.observe(self.batch.moments, observations, self.adapter.info)

    def fired(self, point: HookPoint, call: int, value: Tensor) -> Tensor | None:
        """Edit the rows that are concerned, and count them."""
        edit = self.intervention
        if edit.calls is not None and call not in edit.calls:
            return None
        firing = self.batch.firing(point, call)
        rows = [i for i, m in enumerate(firing.moments) if edit.concerns(point, m)]
        declared = {i for i, m in enumerate(firing.moments) if self._declared(m)}
        self._expected.update(firing.moments[i].episode for i in declared)
        self._missed.update(firing.moments[i].episode for i in declared.difference(rows))
        if not rows:
            return None
        some = value if len(rows) == len(value) else value[rows]
        new = self._edited(some, firing.rows(rows))
        if len(rows) == len(value):
            return new
        return value.index_copy(0, torch.tensor(rows, device=value.device), new)

    def hand_over(self) -> tuple[list[Tally], Counter[str], Counter[str]]:
        """Tallies, and expected and missed row edits by episode, which are then forgotten here.

        For whoever keeps the receipts elsewhere.
        """
        found = self._tallies, self._expected, self._missed
        self._tallies, self._expected, self._missed = [], Counter(), Counter()
        return found

    def take_over(
        self, tallies: Sequence[Tally], expected: Mapping[str, int], missed: Mapping[str, int]
    ) -> None:
        """Count what another session did in this one's place."""
        self._tallies.extend(tallies)
        self._expected.update(expected)
        self._missed.update(missed)

    def receipt(self, episode: str | None = None) -> Receipt:
        """What was done, to one episode or to all."""
        done = _Sum() if episode is not None else self._forgotten.copy()
        for tally in self._tallies:
            done.add(tally.call, tally.ratios_of(episode))
        done.expected += _total(self._expected, episode)
        done.missed += _total(self._missed, episode)
        return done.receipt(self.intervention, len(self.points))

    def forget(self, episode: str) -> None:
        """Fold an episode's tallies into the total, so that memory does not grow with episodes."""
        kept = []
        for tally in self._tallies:
            self._forgotten.add(tally.call, tally.ratios_of(episode))
            rest = tally.without(episode)
            if rest.episodes:
                kept.append(rest)
        self._tallies = kept
        self._forgotten.expected += self._expected.pop(episode, 0)
        self._forgotten.missed += self._missed.pop(episode, 0)
        self.intervention.forget(episode)

    def _declared(self, moment: Moment) -> bool:
        """Whether the written-down restrictions name this row, whatever the source holds."""
        edit = self.intervention
        named = edit.episodes is None or moment.episode in edit.episodes
        return named and (edit.steps is None or edit.steps[0] <= moment.step < edit.steps[1])

    def _edited(self, value: Tensor, firing: Firing) -> Tensor:
        """The edit on whole rows, kept where the token globs say so."""
        new = self.intervention.edit(value, firing)
        if new.shape != value.shape:
            raise MisalignedActivations(
                f"{self.intervention.kind} at {firing.point} turned {tuple(value.shape)} into "
                f"{tuple(new.shape)}; an edit keeps the shape"
            )
        if self.intervention.tokens is not None:
            mask = self._token_mask(value, firing)
            new = torch.where(mask, new, value)
            hit = mask.any(dim=1).flatten().tolist()
        else:
            hit = [True] * len(value)
        ratios = _ratio(value, new)
        episodes = [m.episode for m in firing.moments]
        kept = [i for i, h in enumerate(hit) if h]
        self._missed.update(e for e, h in zip(episodes, hit, strict=True) if not h)
        if kept:
            self._tallies.append(Tally(tuple(episodes[i] for i in kept), firing.call, ratios[kept]))
        return new

    def _token_mask(self, value: Tensor, firing: Firing) -> Tensor:
        """(rows, tokens, 1), true where the globs name the token."""
        if not firing.spans:
            raise MisalignedActivations(
                f"tokens={list(self.intervention.tokens or ())} needs token spans at "
                f"{firing.point}, and {self.adapter.name} declares none there"
            )
        mask = torch.zeros((*value.shape[:2], 1), dtype=torch.bool, device=value.device)
        for row, spans in enumerate(firing.spans):
            for name in spans.match(self.intervention.tokens or ()):
                mask[row, spans[name]] = True
        return mask

    def _refuse_impossible_calls(self) -> None:
        for point in self.points:
            declared = self.adapter.info.pathway(point.pathway).calls_per_chunk
            beyond = [c for c in self.intervention.calls or () if declared and c >= declared]
            if beyond:
                raise EditMisfired(
                    f"calls {beyond} of {point} never happen: {point.pathway} runs {declared} "
                    f"times per chunk (calls 0..{(declared or 1) - 1})"
                )


class Editing:
    """The interventions at work in a `with intervene(...)` block."""

    def __init__(self, sessions: Sequence[EditSession]) -> None:
        self._sessions = tuple(sessions)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """What each intervention has done so far, in the order given."""
        return tuple(s.receipt() for s in self._sessions)

    def receipts_of(self, episode: str) -> tuple[Receipt, ...]:
        """What each intervention has done to one episode."""
        return tuple(s.receipt(episode) for s in self._sessions)

    def logs_of(self, episode: str) -> dict[str, npt.NDArray[np.float32]]:
        """What the interventions kept of one episode: `edit.<i>.<name>`, i in the order given."""
        return {
            f"edit.{i}.{name}": values
            for i, session in enumerate(self._sessions)
            for name, values in session.intervention.log(episode).items()
        }

    def forget(self, episode: str) -> None:
        """Drop what `receipts_of` says of an episode; `receipts` still counts it."""
        for session in self._sessions:
            session.forget(episode)

    def verify(self) -> None:
        """Refuse interventions that did nothing.

        Raises:
            EditMisfired: naming the intervention and why it cannot have acted.
        """
        for session in self._sessions:
            receipt = session.receipt()
            if receipt.edits == 0:
                raise EditMisfired(
                    f"{receipt.kind} at {', '.join(receipt.at)} never fired in {session.chunks} "
                    f"chunks ({receipt.expected} row edits expected, {receipt.mismatches} "
                    "mismatches): check its steps, episodes and tokens against what ran"
                )


@contextmanager
def intervene(
    adapter: VLAAdapter, *interventions: Intervention, must_fire: bool = True
) -> Iterator[Editing]:
    """Apply the interventions, in order, to everything `adapter` infers inside the block.

    Args:
        adapter: the policy.
        interventions: applied in the order given where they meet at one point.
        must_fire: refuse, on leaving the block, an intervention that edited nothing.

    Raises:
        UnknownName: a glob of hook points matches nothing.
        EditMisfired: an intervention never fired, or a point fired another number of times than
            its pathway declares.
        IncompatibleError: an intervention does not suit this policy or these points.
    """
    with ExitStack() as stack:
        sessions = [stack.enter_context(EditSession(adapter, i)) for i in interventions]
        editing = Editing(sessions)
        yield editing
        if must_fire:
            editing.verify()


def _ratio(before: Tensor, after: Tensor) -> Tensor:
    """||dx|| / ||x|| per row, (rows,)."""
    change = (after - before).flatten(1).float().norm(dim=1)
    return (change / before.flatten(1).float().norm(dim=1).clamp_min(1e-12)).detach()


def _total(counts: Mapping[str, int], episode: str | None) -> int:
    return sum(counts.values()) if episode is None else counts.get(episode, 0)
