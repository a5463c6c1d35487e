"""Subspaces of activation space: found in differences between runs, compared by their angles.

What an injection puts in is the difference d = s - x between the source's activation and the
target's. A subspace U is judged by the share of ||d||^2 that it holds (`share_held`), beside random
subspaces of equal dimension (`random_subspace`), and two subspaces by their principal angles
(Björck & Golub 1973, `scipy.linalg.subspace_angles`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, subspace_angles

from vlascope.directions import Direction, Subspace
from vlascope.errors import MisalignedActivations, UnusableActivations
from vlascope.hooks import HookPoint

if TYPE_CHECKING:
    from vlascope.interventions.sources import ActivationSource

__all__ = [
    "Separability",
    "difference_subspace",
    "differences",
    "principal_angles",
    "random_subspace",
    "refuse_dimension",
    "separability",
    "share_held",
    "span_of",
]

Floats = npt.NDArray[np.float64]


def refuse_dimension(name: str, dimension: int, width: int) -> None:
    """Refuse a subspace that is nothing or everything.

    Raises:
        UnusableActivations: the dimension is 0 (or less), or not below the width.
    """
    if not 1 <= dimension < width:
        raise UnusableActivations(
            f"subspace {name!r} is to have {dimension} of {width} dimensions; give at least 1 and "
            f"at most {width - 1} (all of them is the whole activation: use `inject`)"
        )


def differences(
    source: ActivationSource,
    target: ActivationSource,
    point: HookPoint,
    pairs: Mapping[str, str],
    *,
    tokens: Iterable[str] | None = None,
) -> Iterator[Floats]:
    """Source minus target at equal (step, chunk, call), one block (rows, width) per target episode.

    Args:
        source: the recording of what goes in.
        target: the recording of what is there, usually in the same store.
        point: where.
        pairs: source episode by target episode.
        tokens: names of token spans; every token where left out.

    Raises:
        MisalignedActivations: a pair shares no moment, or its token counts differ.
    """
    wanted = None if tokens is None else tuple(tokens)
    theirs = {(m.episode, m.step, m.chunk, m.call): m for m in source.moments(point)}
    mine: dict[str, list[tuple[int, int, int]]] = {}
    for m in target.moments(point):
        mine.setdefault(m.episode, []).append((m.step, m.chunk, m.call))
    own = {(m.episode, m.step, m.chunk, m.call): m for m in target.moments(point)}
    for episode, other in pairs.items():
        rows = []
        for key in mine.get(episode, ()):
            there, here = theirs.get((other, *key)), own[(episode, *key)]
            if there is None:
                continue
            s, x = source.lookup(point, there), target.lookup(point, here)
            assert s is not None
            assert x is not None
            if s.shape != x.shape:
                raise MisalignedActivations(
                    f"{point}: {other} has {tuple(s.shape)} and {episode} {tuple(x.shape)} at "
                    f"step {key[0]}; only runs of equal token counts have a difference"
                )
            difference = (s.double() - x.double()).numpy()
            if wanted is not None:
                spans = target.spans_at(point, here)
                if spans is None:
                    raise MisalignedActivations(f"{point} of {episode} has no token spans")
                difference = np.concatenate([difference[spans[n]] for n in spans.match(wanted)])
            rows.append(difference)
        if not rows:
            raise MisalignedActivations(
                f"{point}: {episode} and {other} share no recorded moment; record both there"
            )
        yield np.concatenate(rows)


def difference_subspace(
    name: str,
    at: str,
    blocks: Iterable[Floats],
    *,
    dimension: int,
    about: str = "",
    found_by: Mapping[str, object] | None = None,
) -> Subspace:
    """The k leading directions of d's second moment, with the share of ||d||^2 they hold.

    Not centred: the mean difference is part of what an injection puts in. Memory holds one block
    and one (width, width) matrix of float64.

    Args:
        name: of the subspace.
        at: the hook point.
        about: what it stands for.
        blocks: differences, (rows, width) each.
        dimension: k.
        found_by: kept beside it.

    Raises:
        UnusableActivations: k is 0 or not below the width, or fewer than k directions differ.
    """
    moment, rows = _second_moment(name, blocks)
    width = len(moment)
    refuse_dimension(name, dimension, width)
    total = float(np.trace(moment))
    values, vectors = eigh(moment, subset_by_index=(width - dimension, width - 1))
    if not total > 0 or values[0] <= 1e-12 * total:
        differing = 0 if not total > 0 else int((values > 1e-12 * total).sum())
        raise UnusableActivations(
            f"subspace {name!r}: source and target differ in only {differing} directions at {at}, "
            f"not in {dimension}; ask for fewer dimensions or another hook point"
        )
    return Subspace(
        name,
        at,
        np.ascontiguousarray(vectors[:, ::-1].T, np.float32),
        about=about,
        found_by={"method": "PCA of source minus target, not centred", "rows": rows}
        | dict(found_by or {}),
        variance_captured=float(values.sum() / total),
    )


def span_of(name: str, items: Iterable[Direction | Subspace]) -> Subspace:
    """The span of directions found by anyone (SAE features, probes) at one hook point.

    Raises:
        UnusableActivations: there is none, or they span the whole width.
        MisalignedActivations: they come from different hook points.
    """
    listed = list(items)
    places = {item.at for item in listed}
    if not listed:
        raise UnusableActivations(f"subspace {name!r} is spanned by nothing; name directions")
    if len(places) > 1:
        raise MisalignedActivations(
            f"subspace {name!r} mixes directions of {sorted(places)}; take them from one hook point"
        )
    found_by = {"method": "span", "of": [item.name for item in listed]}
    rows = np.concatenate([item.rows for item in listed])
    return Subspace.spanned_by(name, places.pop(), rows, found_by=found_by)


def random_subspace(name: str, at: str, dimension: int, width: int, *, seed: int = 0) -> Subspace:
    """A uniformly random subspace; the same for the same seed and hook point."""
    refuse_dimension(name, dimension, width)
    digest = hashlib.sha256(f"{seed}/{at}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    found_by = {"method": "random", "seed": seed}
    return Subspace(name, at, _uniform(rng, dimension, width).astype(np.float32), found_by=found_by)


def share_held(subspace: Subspace, blocks: Iterable[Floats]) -> float:
    """Share of ||d||^2 that lies in the subspace, 0..1; k / width is what chance gives."""
    held = total = 0.0
    for block in blocks:
        held += float(((block @ subspace.basis.T) ** 2).sum())
        total += float((block**2).sum())
    if not total > 0:
        raise UnusableActivations(f"subspace {subspace.name!r}: source and target never differ")
    return held / total


def principal_angles(a: Subspace, b: Subspace) -> Floats:
    """Radians from the smallest to the largest, (min(k_a, k_b),).

    Raises:
        MisalignedActivations: they lie in spaces of different width.
    """
    if a.width != b.width:
        raise MisalignedActivations(
            f"{a.name} ({a.at}) is {a.width} wide and {b.name} ({b.at}) {b.width}: angles between "
            "different spaces mean nothing; compare pathways of equal width"
        )
    angles = subspace_angles(a.basis.T.astype(np.float64), b.basis.T.astype(np.float64))
    return np.sort(np.asarray(angles, np.float64))


@dataclass(frozen=True)
class Separability:
    """How far apart two subspaces are, beside random ones of the same dimensions.

    Attributes:
        score: mean of sin^2 over the principal angles: 0 for one within the other, 1 orthogonal.
        angles: degrees, from the smallest.
        null_mean, null_low, null_high: mean and central 95% of random subspaces' score.
        p_aligned: chance that random subspaces are as close; p_apart: as far apart.
        p: two-sided, from both.
        draws: random pairs drawn.
    """

    score: float
    angles: tuple[float, ...]
    null_mean: float
    null_low: float
    null_high: float
    p_aligned: float
    p_apart: float
    p: float
    draws: int

    @property
    def verdict(self) -> str:
        """`aligned`, `apart` or `as random` at the 5% level, two-sided."""
        if self.p > 0.05:
            return "as random"
        return "aligned" if self.p_aligned < self.p_apart else "apart"


def separability(a: Subspace, b: Subspace, *, draws: int = 999, seed: int = 0) -> Separability:
    """Compare two subspaces of one space with random ones (Monte-Carlo test, Phipson & Smyth 2010).

    Only one of the two needs to be drawn anew, as a uniformly random subspace is as likely in
    every orientation.
    """
    angles = principal_angles(a, b)
    rng, fixed = np.random.default_rng(seed), a.basis.astype(np.float64)
    score = _score(fixed, b.basis.astype(np.float64))
    null = np.array([_score(fixed, _uniform(rng, len(b.basis), b.width)) for _ in range(draws)])
    closer = (1 + int((null <= score).sum())) / (1 + draws)
    farther = (1 + int((null >= score).sum())) / (1 + draws)
    low, high = np.quantile(null, [0.025, 0.975])
    return Separability(
        score=score,
        angles=tuple(np.degrees(angles).tolist()),
        null_mean=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        p_aligned=closer,
        p_apart=farther,
        p=min(1.0, 2 * min(closer, farther)),
        draws=draws,
    )


def _second_moment(name: str, blocks: Iterable[Floats]) -> tuple[Floats, int]:
    moment: Floats | None = None
    rows = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise UnusableActivations(f"subspace {name!r}: the differences hold NaN or infinity")
        moment = block.T @ block if moment is None else moment + block.T @ block
        rows += len(block)
    if moment is None or rows == 0:
        raise UnusableActivations(f"subspace {name!r}: there is no difference to find it in")
    return moment, rows


def _score(a: Floats, b: Floats) -> float:
    """Mean of sin^2 over the principal angles, as the squared cosines sum to ||A B^T||^2."""
    return 1.0 - float(((a @ b.T) ** 2).sum()) / min(len(a), len(b))


def _uniform(rng: np.random.Generator, dimension: int, width: int) -> Floats:
    """Orthonormal rows, (dimension, width)."""
    return np.linalg.qr(rng.standard_normal((width, dimension)))[0].T
