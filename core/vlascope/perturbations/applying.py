"""Perturbing one episode's observations, and counting what that changed; free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vlascope.perturbations.perturbation import Look, Perturbation
from vlascope.perturbations.receipts import PerturbationReceipt
from vlascope.types import Image, Observation

__all__ = ["Perturbing", "Sent", "digest_of"]


@dataclass(frozen=True)
class Sent:
    """Hashes of one look's pictures: as the cameras took them, and as they were sent on."""

    taken: str
    sent: str


def digest_of(pictures: Mapping[str, Image]) -> str:
    """A content hash of pictures by camera: 16 hex digits."""
    hashed = hashlib.blake2b(digest_size=8)
    for camera in sorted(pictures):
        picture = np.ascontiguousarray(pictures[camera])
        hashed.update(f"{camera}{picture.shape}{picture.dtype}".encode())
        hashed.update(picture.data)
    return hashed.hexdigest()


@dataclass
class _Tally:
    pictures: int = 0
    changed: int = 0
    total: float = 0.0
    first: Mapping[str, Image] = field(default_factory=dict)


class Perturbing:
    """The perturbations of one episode, at work one after the other.

    Args:
        perturbations: in order.
        seed: the episode's.
        read: cameras the policy reads, which alone are counted; None for all.
    """

    def __init__(
        self,
        perturbations: Sequence[Perturbation],
        *,
        seed: int,
        read: Collection[str] | None = None,
    ) -> None:
        self._perturbations, self._seed, self._read = tuple(perturbations), seed, read
        self._tallies = [_Tally() for _ in self._perturbations]

    def look(
        self, observation: Observation, step: int, *, count: bool = True
    ) -> tuple[Observation, Sent | None]:
        """The observation as the policy shall get it; None where there is no perturbation.

        Args:
            observation: what the cameras took.
            step: environment steps played.
            count: whether this look is for the policy, and not only for a film.

        Raises:
            ValueError: a perturbation gave another shape or dtype.
        """
        if not self._perturbations:
            return observation, None
        taken = pictures = dict(observation.images)
        for i, perturbation in enumerate(self._perturbations):
            tally = self._tallies[i]
            tally.first = tally.first or pictures
            given = pictures
            pictures = perturbation.apply(given, Look(step, self._seed, i, tally.first))
            _check(perturbation.kind, given, pictures)
            if count and perturbation.due(step):
                self._count(tally, given, pictures, perturbation.concerns)
        sent = Sent(digest_of(self._seen(taken)), digest_of(self._seen(pictures)))
        return replace(observation, images=pictures), sent

    @property
    def receipts(self) -> tuple[PerturbationReceipt, ...]:
        """What each perturbation did so far."""
        return tuple(
            PerturbationReceipt(
                kind=perturbation.kind,
                pictures=tally.pictures,
                changed=tally.changed,
                change=round(tally.total / tally.pictures, 4) if tally.pictures else None,
            )
            for perturbation, tally in zip(self._perturbations, self._tallies, strict=True)
        )

    def _count(
        self,
        tally: _Tally,
        before: Mapping[str, Image],
        after: Mapping[str, Image],
        concerns: Callable[[str], bool],
    ) -> None:
        for camera in self._seen(before):
            if not concerns(camera):
                continue
            tally.pictures += 1
            if after[camera] is not before[camera]:
                change = np.abs(after[camera].astype(np.int16) - before[camera])
                tally.changed += bool(change.any())
                tally.total += float(change.mean())

    def _seen(self, pictures: Mapping[str, Image]) -> dict[str, Image]:
        return {c: p for c, p in pictures.items() if self._read is None or c in self._read}


def _check(kind: str, before: Mapping[str, Image], after: Mapping[str, Image]) -> None:
    for camera, picture in before.items():
        made = after[camera]
        if made.shape != picture.shape or made.dtype != picture.dtype:
            raise ValueError(
                f"{kind} made {made.dtype} {made.shape} of camera {camera!r}'s {picture.dtype} "
                f"{picture.shape}: a perturbation keeps shape and dtype"
            )
