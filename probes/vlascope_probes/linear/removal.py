"""The subspace that a linear probe reads, and what is left when it is taken out.

The span of the columns of cov(x, y) is removed: every covariance between what remains and y is
then zero, so that no linear probe does better than the mean (the guarantee behind LEACE, Belrose
et al. 2023, arXiv 2306.03819; here as an orthogonal projection around the mean, which the edit
`erase` does inside the policy). Where a re-probe still finds something, the directions it reads
are removed too, as iterated null-space projection does (Ravfogel et al. 2020, arXiv 2004.07667).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from vlascope.directions import Direction, Subspace
from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint
from vlascope_probes.linear.fitting import coded
from vlascope_probes.linear.grams import on_all
from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.regression import Statistics, statistics_of
from vlascope_probes.linear.rows import Features, values_of
from vlascope_probes.linear.splits import by_episode
from vlascope_probes.linear.targets import Target

__all__ = ["Removal", "Span", "span_of"]

Floats = npt.NDArray[np.float64]
_GONE = 0.02
"""A held-out R² up to this counts as nothing left."""


class Removal(BaseModel):
    """The projection test: the target's held-out R² before and after its subspace is taken out.

    Labels count as indicator columns here; R² is the mean over columns.

    Attributes:
        dimensions: of the subspace; `rounds` in how many steps it was gathered.
        random: R² after a random subspace of as many dimensions is taken out.
        variance: share of the activations' variance that the subspace holds; `random_variance`
            that the random one holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: str
    target: str
    dimensions: int
    rounds: int
    before: float
    after: float
    random: float
    variance: float
    random_variance: float


@dataclass(frozen=True, eq=False)
class Span:
    """What a probe reads at one point, ready to be steered along or removed.

    Attributes:
        directions: by column (a label, or the number itself) its `pattern`, cov(x, y), along which
            activations differ where the target does, and its `weights`, which the probe reads.
        subspace: what is removed; `random` one of equal dimension.
        mean: of the activations, (width,).
    """

    directions: tuple[Direction, ...]
    subspace: Subspace
    random: Subspace
    mean: Floats
    removal: Removal


def span_of(
    features: Features,
    place: str,
    targets: Sequence[Target],
    options: ProbeOptions,
    *,
    name: str | None = None,
    max_dimensions: int = 32,
) -> Span:
    """The subspace of one classification target or of several regression targets together.

    Args:
        features: the rows of the point.
        place: the hook point, as text.
        targets: what is read; those that are numbers must have values at the same rows.
        options: folds and seed; kept with what is found.
        name: what the span is called; by default the target's name.
        max_dimensions: of the subspace; also fewer than the width.

    Raises:
        UnusableActivations: the target and the activations do not covary at all.
    """
    name = name or targets[0].name
    y, columns, usable = _columns(targets, features)
    split = by_episode(features.coordinates[0], usable, options.folds, options.seed)
    statistics = statistics_of(features, y, split)
    before = _mean_score(statistics)
    basis, rounds = _gathered(statistics, place, name, max_dimensions)
    rng = np.random.default_rng(options.seed)
    chance = np.linalg.qr(rng.standard_normal((basis.shape[1], len(basis))))[0].T
    covariance = statistics.total.covariance_xx
    removal = Removal(
        point=place,
        target=name,
        dimensions=len(basis),
        rounds=rounds,
        before=before,
        after=_mean_score(statistics.removed(basis)),
        random=_mean_score(statistics.removed(chance)),
        variance=_share(covariance, basis),
        random_variance=_share(covariance, chance),
    )
    found_by = {
        "engine": "linear probe",
        "targets": [t.name for t in targets],
        "tokens": options.spans_at(HookPoint.parse(place)),
        "pool": options.pool,
        "call": options.call,
        "rows": int(statistics.total.n),
        "removal": removal.model_dump(),
    }
    return Span(
        tuple(_directions(statistics, place, columns, found_by)),
        Subspace.spanned_by(
            f"{place}/{name}",
            place,
            basis,
            about=f"what linear probes of {name} read at {place}",
            found_by=found_by,
            variance_captured=removal.variance,
        ),
        Subspace.spanned_by(
            f"{place}/{name}/random",
            place,
            chance,
            about=f"random, as many dimensions as {name} at {place}",
            found_by={"engine": "random", "seed": options.seed},
            variance_captured=removal.random_variance,
        ),
        statistics.total.x / statistics.total.n + statistics.shift,
        removal,
    )


def _columns(
    targets: Sequence[Target], features: Features
) -> tuple[Floats, list[str], npt.NDArray[np.bool_]]:
    """(rows, k), standardised; what each column is called; and the rows that have a value."""
    if targets[0].kind == "classification":
        codes, names = coded(values_of(targets[0], features))
        usable = codes >= 0
        kept = [i for i in range(len(names)) if len(names) > 2 or i == 1]
        y = np.stack([codes == i for i in kept], axis=1).astype(np.float64)
        columns = [f"{targets[0].name}={names[i]}" for i in kept]
    else:
        y = np.stack([np.asarray(values_of(t, features), np.float64) for t in targets], axis=1)
        usable = np.isfinite(y.sum(axis=1))
        columns = [t.name for t in targets]
    spread = y[usable].std(axis=0)
    y = np.where(usable[:, None], (y - y[usable].mean(axis=0)) / np.where(spread > 0, spread, 1), 0)
    return y, columns, usable


def _gathered(statistics: Statistics, place: str, name: str, most: int) -> tuple[Floats, int]:
    """An orthonormal basis (r, d), and in how many rounds it came about."""
    width = len(statistics.total.x)
    limit = min(most, width - 1)
    shared = statistics.total.covariance_xy.T
    spread = float(np.trace(statistics.total.covariance_xx)) ** 0.5
    basis = _span(shared[np.linalg.norm(shared, axis=1) > 1e-6 * spread])[:limit]
    if not len(basis):
        raise UnusableActivations(f"{name} and the activations of {place} do not covary at all")
    rounds = 1
    while len(basis) < limit and _mean_score(statistics.removed(basis)) > _GONE:
        weights = on_all(statistics.removed(basis).folds).weights.T
        wider = _span(np.concatenate([basis, weights]))
        if len(wider) <= len(basis):
            break
        basis, rounds = wider[:limit], rounds + 1
    return basis, rounds


def _span(rows: Floats) -> Floats:
    """Orthonormal rows that span the rows given, the strongest first."""
    if not len(rows):
        return rows
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = rows / np.where(norms > 0, norms, 1)
    _, singular, basis = np.linalg.svd(scaled, full_matrices=False)
    return basis[singular > 1e-6]


def _mean_score(statistics: Statistics) -> float:
    return float(np.mean(statistics.scores()[0][: statistics.real]))


def _share(covariance: Floats, basis: Floats) -> float:
    total = float(np.trace(covariance))
    return float(np.trace(basis @ covariance @ basis.T)) / total if total > 0 else 0.0


def _directions(
    statistics: Statistics, place: str, columns: Sequence[str], found_by: Mapping[str, object]
) -> list[Direction]:
    total = statistics.total
    fit = on_all(statistics.folds)
    found = []
    for i, column in enumerate(columns):
        for what, vector in (
            ("pattern", total.covariance_xy[:, i]),
            ("weights", fit.weights[:, i]),
        ):
            norm = float(np.linalg.norm(vector))
            if norm <= 0:
                continue
            unit = vector / norm
            found.append(
                Direction(
                    f"{place}/{column}/{what}",
                    place,
                    unit.astype(np.float32),
                    scale=max(float(unit @ total.covariance_xx @ unit), 0.0) ** 0.5,
                    about=f"{column} at {place}: {what} of a linear probe, towards more of it",
                    found_by={k: v for k, v in found_by.items() if k != "removal"},
                )
            )
    return found
