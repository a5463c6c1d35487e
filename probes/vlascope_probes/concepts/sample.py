"""Activations as concepts see them: one row per moment of the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from glob import escape
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vlascope.encoders import Encoder
from vlascope.errors import IncompatibleError, UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.store import ActivationStore, Rows, Where

__all__ = ["MAX_BYTES", "Sample", "feature_blocks", "read_sample", "recorded_steps"]

Ints = npt.NDArray[np.int64]
MAX_BYTES: Final = 512 * 2**20
"""What the features of all moments may take at once; more are scored in several passes."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Moments in the order of their episodes and steps.

    Attributes:
        values: float32 (n, d), the mean over a moment's tokens and calls.
        fired: float32 (n, d), the share of its tokens where a feature is above 0; None for
            activations, which have no zero.
        episode: (n,), which of `episodes` each row is of, ascending.
        step: (n,), the environment step.
        episodes, tasks: the name and the task of each episode.
    """

    values: npt.NDArray[np.float32]
    fired: npt.NDArray[np.float32] | None
    episode: Ints
    step: Ints
    episodes: tuple[str, ...]
    tasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def task(self) -> Ints:
        """(n,), which of the sorted task names each row is of."""
        return np.unique(self.tasks, return_inverse=True)[1].reshape(-1)[self.episode]

    def rows(self, keep: npt.NDArray[np.bool_]) -> Sample:
        """Some of the rows."""
        fired = None if self.fired is None else self.fired[keep]
        return replace(
            self,
            values=self.values[keep],
            fired=fired,
            episode=self.episode[keep],
            step=self.step[keep],
        )

    def truth(
        self, labelled: Mapping[str, npt.NDArray[np.bool_]]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which rows a concept can speak of, (n,), and its truth at those, (kept,)."""
        keep = np.zeros(len(self), bool)
        truth = np.zeros(len(self), bool)
        for i, name in enumerate(self.episodes):
            known = labelled.get(name)
            if known is not None:
                mine = np.flatnonzero((self.episode == i) & (self.step < len(known)))
                keep[mine], truth[mine] = True, known[self.step[mine]]
        return keep, truth[keep]


def recorded_steps(store: ActivationStore, point: HookPoint | str, where: Where) -> dict[str, Ints]:
    """The environment steps with activations at a point, by episode."""
    wanted = store.episodes(where)
    found: dict[str, set[int]] = {}
    for moment in store.moments(HookPoint.parse(str(point))):
        if moment.episode in wanted:
            found.setdefault(moment.episode, set()).add(moment.step)
    return {name: np.array(sorted(steps), np.int64) for name, steps in found.items()}


def feature_blocks(features: int, moments: int, max_bytes: int = MAX_BYTES) -> list[slice]:
    """Features in blocks that fit the memory, two float32 per moment and feature."""
    block = max(1, min(features, max_bytes // (8 * max(moments, 1))))
    return [slice(i, min(i + block, features)) for i in range(0, features, block)]


def read_sample(
    store: ActivationStore,
    point: HookPoint | str,
    where: Where,
    *,
    encoder: Encoder | None = None,
    features: slice | None = None,
) -> Sample:
    """A point's activations, or the features of them, one episode at a time.

    Args:
        store: the recording.
        point: the hook point.
        where: which episodes, tokens and calls.
        encoder: what makes features of them; None for the activations themselves.
        features: which features to keep.

    Raises:
        IncompatibleError: the encoder is of another point, width or policy.
        UnusableActivations: there is nothing, or numbers that are not finite.
    """
    if encoder is not None:
        _refuse_other(encoder, store, point)
    labels = store.episodes(where)
    parts: list[tuple[str, npt.NDArray[np.float32], npt.NDArray[np.float32] | None, Ints]] = []
    for name in labels:
        rows = store.read(point, replace(where, episodes=(escape(name),)))
        if len(rows):
            parts.append((name, *_pooled(rows, encoder, features)))
    if not parts:
        raise UnusableActivations(f"{store.path} holds no wanted rows at {point}")
    fired = [f for _, _, f, _ in parts if f is not None]
    counts = [len(values) for _, values, _, _ in parts]
    return Sample(
        np.concatenate([values for _, values, _, _ in parts]),
        np.concatenate(fired) if fired else None,
        np.repeat(np.arange(len(parts)), counts),
        np.concatenate([steps for *_, steps in parts]),
        tuple(name for name, *_ in parts),
        tuple(str(labels[name].get("task", "")) for name, *_ in parts),
    )


def _refuse_other(encoder: Encoder, store: ActivationStore, point: HookPoint | str) -> None:
    if encoder.at is not None and str(encoder.at) != str(point):
        raise IncompatibleError(f"{encoder.path} reads {encoder.at}, not {point}")
    held = store.provenance.checkpoint_hash
    if encoder.policy not in ("", held):
        raise IncompatibleError(
            f"{encoder.path} was made for the policy {encoder.policy[:12]}, {store.path} holds "
            f"activations of {held[:12]}; record that policy, or use an encoder of this one"
        )


def _pooled(
    rows: Rows, encoder: Encoder | None, features: slice | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None, Ints]:
    """One episode: means by step, shares fired by step, and the steps."""
    values = rows.values.float()
    step = rows.column("step").astype(np.int64)
    if not torch.isfinite(values).all():
        raise UnusableActivations(f"activations of {rows.episodes[0]} are not all finite")
    fired = None
    if encoder is not None:
        values, step = _encoded(values, rows, encoder)
        values = values[:, features] if features is not None else values
        fired = (values > 0).float()
    order = np.argsort(step, kind="stable")
    steps, starts = np.unique(step[order], return_index=True)
    lengths = torch.from_numpy(np.diff(starts, append=len(order)))
    chosen = torch.from_numpy(order)
    means = [
        torch.segment_reduce(part[chosen], "mean", lengths=lengths, axis=0).numpy()
        for part in ((values,) if fired is None else (values, fired))
    ]
    return means[0], means[1] if fired is not None else None, steps


def _encoded(values: Tensor, rows: Rows, encoder: Encoder) -> tuple[Tensor, Ints]:
    """Features of each token, or of each firing's tokens put together, and their steps."""
    if values.shape[1] != encoder.width:
        raise IncompatibleError(
            f"{encoder.path} reads activations {encoder.width} wide, these are {values.shape[1]}"
        )
    step = rows.column("step").astype(np.int64)
    if encoder.pool != "none":
        order = np.lexsort((rows.column("token"), rows.column("call"), step))
        when = np.stack([step[order], rows.column("call")[order]], 1)
        _, starts = np.unique(when, axis=0, return_index=True)
        step = when[starts, 0].astype(np.int64)
        values = _reduced(values[torch.from_numpy(order)], starts, encoder.pool)
    return torch.cat([encoder.encode(part) for part in _split(values)]), step


def _reduced(values: Tensor, starts: Ints, pool: str) -> Tensor:
    lengths = torch.from_numpy(np.diff(starts, append=len(values)))
    if pool == "last":
        return values[torch.from_numpy(starts) + lengths - 1]
    return torch.segment_reduce(values, pool, lengths=lengths, axis=0)


def _split(values: Tensor, rows: int = 8192) -> Iterator[Tensor]:
    yield from torch.split(values, rows)
