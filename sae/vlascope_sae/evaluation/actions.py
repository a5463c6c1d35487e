"""Action fidelity: does the policy act the same with the reconstruction in place?

Reconstruction error says how far activations move, not whether what moved matters. So the change
of the action chunk is measured, and set against the change that an edit makes which takes all
information away: the mean activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vlascope.adapter import VLAAdapter
from vlascope.errors import IncompatibleError, UnusableActivations
from vlascope.interventions import Intervention, MeanAblate
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec, record
from vlascope.specs import ActionSpec
from vlascope.statistics import Estimate, bootstrap_mean
from vlascope_sae.evaluation.schema import ActionFidelity, EpisodeFidelity
from vlascope_sae.evaluation.situations import Situation, in_batches

__all__ = ["Plans", "action_fidelity", "action_scale", "mean_ablation", "predicted"]

Floats = npt.NDArray[np.float64]

_STILL = 1e-6
"""A chunk that moves by less than this share of the action range has not moved."""


@dataclass(frozen=True, eq=False)
class Plans:
    """What a policy plans in some situations, and how far edits move that.

    Every prediction of a situation draws the same noise.
    """

    adapter: VLAAdapter
    situations: Sequence[Situation]
    batch_size: int = 8

    @cached_property
    def plain(self) -> Floats:
        """Unedited, (situations, horizon, action_dim)."""
        return predicted(self.adapter, self.situations, self.batch_size)

    def moved(self, edit: Intervention) -> tuple[Floats, float | None]:
        """How far an edit moves each plan, (situations,), and its mean ||dx|| / ||x||.

        Root mean square over horizon and dimensions, these in units of half their declared range.
        """
        plain = self.plain
        with self.adapter.intervene(edit) as editing:
            actions = predicted(self.adapter, self.situations, self.batch_size)
        scale = action_scale(self.adapter.info.action)
        return _distance(actions, plain, scale), editing.receipts[0].dx_ratio_mean


def action_fidelity(
    adapter: VLAAdapter,
    situations: Sequence[Situation],
    splice: Intervention,
    *,
    zero: Intervention | None = None,
    batch_size: int = 8,
) -> ActionFidelity:
    """1 - |da_splice| / |da_zero| by episode, with a bootstrap interval over episodes or tasks.

    All three predictions of a situation draw the same noise.

    Args:
        adapter: the policy.
        situations: what it is shown, usually from many episodes.
        splice: usually `Reconstruct`.
        zero: what counts as no information; by default the mean over these very situations of
            each point's activations, at the splice's own points, calls and tokens.
        batch_size: situations predicted at a time.

    Raises:
        IncompatibleError: the splice is at points whose value cannot reach the action.
        UnusableActivations: there are no situations.
    """
    if not situations:
        raise UnusableActivations("action fidelity needs situations; none were given")
    points = adapter.match(splice.at)
    dead = [str(p) for p in points if p in adapter.dead_points()]
    if dead:
        raise IncompatibleError(
            f"what is done at {', '.join(dead)} cannot reach the action of {adapter.name}: there "
            "is no action fidelity to measure there"
        )
    floor = zero or mean_ablation(adapter, situations, splice, batch_size=batch_size)
    plans = Plans(adapter, situations, batch_size)
    moved, dx_ratio = plans.moved(splice)
    moved_by_zero, _ = plans.moved(floor)
    episodes = _by_episode(situations, moved, moved_by_zero)
    return ActionFidelity(
        sae=str(getattr(splice, "sae", "")),
        policy=adapter.name,
        checkpoint_hash=adapter.info.checkpoint_hash,
        at=splice.at,
        tokens=splice.tokens,
        splice=splice.kind,
        zero=floor.kind,
        fidelity=_fidelity(episodes),
        moved=_mean(situations, moved),
        moved_by_zero=_mean(situations, moved_by_zero),
        situations=len(situations),
        dx_ratio=dx_ratio,
        episodes=episodes,
    )


def mean_ablation(
    adapter: VLAAdapter,
    situations: Sequence[Situation],
    like: Intervention,
    *,
    batch_size: int = 8,
) -> MeanAblate:
    """The ablation to the mean over these situations, wherever and whenever `like` acts."""
    points = adapter.match(like.at)
    spec = RecordSpec(at=like.at, calls=like.calls, tokens=like.tokens)
    with record(adapter, spec) as cache:
        predicted(adapter, situations, batch_size)
    ablate = MeanAblate.of(cache, points)
    return ablate.restricted(
        calls=like.calls, steps=like.steps, tokens=like.tokens, episodes=like.episodes
    )


def predicted(adapter: VLAAdapter, situations: Sequence[Situation], batch_size: int) -> Floats:
    """The chunk of every situation, (situations, horizon, action_dim)."""
    chunks = []
    for batch in in_batches(situations, batch_size):
        found = adapter.infer(
            [s.observation for s in batch],
            generators=[generator_for(s.seed, s.moment.chunk) for s in batch],
            moments=[s.moment for s in batch],
        )
        chunks.append(found.actions.astype(np.float64))
    return np.concatenate(chunks)


def action_scale(spec: ActionSpec) -> Floats:
    """Half the declared range of each action dimension; 1 where it has no finite one."""
    half = (np.asarray(spec.high, np.float64) - np.asarray(spec.low, np.float64)) / 2
    return np.where(np.isfinite(half) & (half > 0), half, 1.0)


def _distance(actions: Floats, plain: Floats, scale: Floats) -> Floats:
    """Root mean square over horizon and dimensions of the scaled change, (situations,)."""
    return np.sqrt((((actions - plain) / scale) ** 2).mean(axis=(1, 2)))


def _by_episode(
    situations: Sequence[Situation], moved: Floats, moved_by_zero: Floats
) -> tuple[EpisodeFidelity, ...]:
    members: dict[str, list[int]] = {}
    for i, situation in enumerate(situations):
        members.setdefault(situation.moment.episode, []).append(i)
    found = []
    for episode, index in members.items():
        ours, zero = float(moved[index].sum()), float(moved_by_zero[index].sum())
        still = zero < _STILL * len(index)
        found.append(
            EpisodeFidelity(
                episode=episode,
                task=situations[index[0]].task,
                situations=len(index),
                moved=ours,
                moved_by_zero=zero,
                fidelity=None if still else 1 - ours / zero,
            )
        )
    return tuple(found)


def _fidelity(episodes: Sequence[EpisodeFidelity]) -> Estimate:
    by_task: dict[str, list[float]] = {}
    for episode in episodes:
        if episode.fidelity is not None:
            by_task.setdefault(episode.task, []).append(episode.fidelity)
    found = bootstrap_mean(by_task)
    return found.model_copy(update={"missing": len(episodes) - found.n})


def _mean(situations: Sequence[Situation], moved: Floats) -> Estimate:
    """Mean over episodes of their mean change, with the episodes' interval."""
    by_episode: dict[tuple[str, str], list[float]] = {}
    for situation, change in zip(situations, moved.tolist(), strict=True):
        by_episode.setdefault((situation.task, situation.moment.episode), []).append(change)
    by_task: dict[str, list[float]] = {}
    for (task, _), changes in by_episode.items():
        by_task.setdefault(task, []).append(float(np.mean(changes)))
    return bootstrap_mean(by_task)
