"""Contrastive scores of an encoder's features for every concept of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.encoders import Encoder
from vlascope.store import ActivationStore, Where
from vlascope_probes.concepts.contrast import Sums, level_of, resampled, without_each
from vlascope_probes.concepts.labelling import Labels, Standing, label, refuse_unusable
from vlascope_probes.concepts.nulls import Permuter, discoveries, p_values
from vlascope_probes.concepts.results import ConceptFeatures, FeatureScore, FeatureScores
from vlascope_probes.concepts.sample import (
    MAX_BYTES,
    Sample,
    feature_blocks,
    read_sample,
    recorded_steps,
)
from vlascope_probes.concepts.scene import Episode
from vlascope_probes.concepts.vocabulary import Concept, Vocabulary

__all__ = ["Contrasted", "contrasted", "permuter_of", "score_features"]

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

_DRAWS = 1000
"""Bootstrap samples."""


@dataclass(frozen=True, eq=False)
class Contrasted:
    """One concept against a block of features: each (features,)."""

    d: Floats
    freq: Floats
    rate: Floats
    score: Floats
    p: Floats
    task_held_out: Floats
    within_task: Floats

    @classmethod
    def joined(cls, parts: Sequence[Contrasted]) -> Contrasted:
        """Blocks put side by side."""
        names = ("d", "freq", "rate", "score", "p", "task_held_out", "within_task")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def score_features(
    store: ActivationStore,
    encoder: Encoder,
    vocabulary: Vocabulary,
    episodes: Sequence[Episode],
    *,
    where: Where | None = None,
    concepts: Sequence[str] = (),
    top: int = 10,
    permutations: int = 1000,
    fdr: float = 0.05,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> FeatureScores:
    """Score every concept that says something here against every feature.

    Args:
        store: the recording; read once per block of features that fits `max_bytes`.
        encoder: whose features.
        vocabulary: the concepts.
        episodes: of the same run, see `episodes_of`.
        where: which rows; by default the tokens and calls the encoder was made for.
        concepts: only these, which must be usable; none for every usable one.
        top: features kept per concept.
        permutations: draws of the null; the smallest p-values get as many as the correction needs.
        fdr: false discovery rate.
        seed: of draws and resamples.
        max_bytes: memory for features.

    Raises:
        UnusableActivations: a concept named holds at no or every moment, or there is none left.
    """
    where = where or Where(spans=encoder.tokens, calls=encoder.calls)
    point = encoder.at or store.points[0]
    steps = recorded_steps(store, point, where)
    chosen = vocabulary.among(concepts) if concepts else vocabulary
    labels = label(chosen, [e for e in episodes if e.name in steps], steps, known=vocabulary)
    refuse_unusable(labels, concepts)
    blocks = feature_blocks(encoder.features, sum(map(len, steps.values())), max_bytes)
    tested: dict[str, list[Contrasted]] = {name: [] for name in labels.usable}
    for block in blocks:
        sample = read_sample(store, point, where, encoder=encoder, features=block)
        for name in labels.usable:
            one = contrasted(
                sample,
                labels,
                name,
                permutations=permutations,
                tests=encoder.features,
                fdr=fdr,
                seed=seed,
            )
            tested[name].append(one)
    whole = {name: Contrasted.joined(parts) for name, parts in tested.items()}
    found = discoveries({name: t.p for name, t in whole.items()}, fdr)
    ranked = {n: _ranked(t, found[n][0], top) for n, t in whole.items()}
    intervals = _intervals(store, encoder, where, labels, ranked, blocks, seed)
    return FeatureScores(
        encoder=encoder.path,
        point=str(point),
        tested=encoder.features,
        fdr=fdr,
        permutations=permutations,
        concepts=tuple(
            _record(vocabulary[n], labels.standing[n], whole[n], found[n], ranked[n], intervals[n])
            for n in labels.usable
        ),
        left_out={n: s.verdict for n, s in labels.standing.items() if s.verdict != "usable"},
    )


def contrasted(
    sample: Sample,
    labels: Labels,
    concept: str,
    *,
    permutations: int,
    tests: int,
    fdr: float,
    seed: int,
) -> Contrasted:
    """One concept against the features of a sample; p is NaN for those that never vary."""
    keep, truth = sample.truth(labels.labelled[concept].truth)
    mine = sample.rows(keep)
    fired = mine.fired
    overall = Sums.of(mine.values, truth, fired)
    x = _standard(mine.values)
    x2 = x**2

    def d_of(drawn: Truth, columns: npt.NDArray[np.int64]) -> Floats:
        chosen, squares = x[:, columns], x2[:, columns]
        inside = drawn.astype(np.float32)
        in_, in2 = inside @ chosen, inside @ squares
        n_in = inside.sum(1, keepdims=True).astype(np.float64)
        return Sums(
            n_in,
            len(truth) - n_in,
            in_.astype(np.float64),
            chosen.sum(0, dtype=np.float64) - in_,
            in2.astype(np.float64),
            squares.sum(0, dtype=np.float64) - in2,
        ).d

    observed = d_of(truth[None], np.arange(x.shape[1]))[0]
    observed = np.where(x.any(0), observed, np.nan)
    permuter = permuter_of(mine, truth, by_task=labels.standing[concept].by_task)
    rate = np.zeros(x.shape[1]) if fired is None else fired.mean(0, dtype=np.float64)
    return Contrasted(
        d=np.nan_to_num(overall.d[0]),
        freq=overall.freq[0],
        rate=rate,
        score=np.nan_to_num(overall.score[0]),
        p=p_values(
            d_of,
            observed,
            permuter,
            permutations=permutations,
            tests=tests,
            level=fdr,
            seed=seed,
        ),
        task_held_out=without_each(Sums.of(mine.values, truth, fired, mine.task)),
        within_task=_within_task(mine, truth),
    )


def _standard(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Columns at mean 0 and deviation 1, which leaves d as it is; constant ones are 0."""
    x = values.astype(np.float64)
    mean, deviation = x.mean(0), x.std(0)
    varies = deviation > 1e-6 * np.maximum(np.abs(mean), 1e-12)
    return ((x - mean) / np.where(varies, deviation, np.inf)).astype(np.float32)


def permuter_of(sample: Sample, truth: Truth, *, by_task: bool) -> Permuter:
    """Labels move between the episodes of a task; of all tasks where the task decides the label."""
    _, episode = np.unique(sample.episode, return_inverse=True)
    tasks = np.unique(sample.tasks, return_inverse=True)[1][np.unique(sample.episode)]
    strata = np.zeros_like(tasks) if by_task else tasks
    return Permuter(truth, episode.reshape(-1).astype(np.int64), strata.astype(np.int64))


def _within_task(sample: Sample, truth: Truth) -> Floats:
    """D over the tasks that have moments on both sides, each task's mean taken away."""
    task = sample.task
    both = [t for t in np.unique(task) if 0 < truth[task == t].sum() < (task == t).sum()]
    if not both:
        return np.full(sample.values.shape[1], np.nan)
    keep = np.isin(task, both)
    values, of = sample.values[keep].astype(np.float64), task[keep]
    for t in both:
        values[of == t] -= values[of == t].mean(0)
    return Sums.of(values, truth[keep]).d[0]


def _ranked(tested: Contrasted, stands: Truth, top: int) -> list[int]:
    """The features to keep: those that stand first, then by score."""
    order = np.lexsort((-tested.score, ~stands))
    return [int(f) for f in order[:top] if tested.score[f] > 0]


def _intervals(
    store: ActivationStore,
    encoder: Encoder,
    where: Where,
    labels: Labels,
    ranked: dict[str, list[int]],
    blocks: Sequence[slice],
    seed: int,
) -> dict[str, dict[int, tuple[float | None, float | None]]]:
    """95% intervals of the kept features' scores, episodes resampled."""
    found: dict[str, dict[int, tuple[float | None, float | None]]] = {n: {} for n in ranked}
    for block in blocks:
        inside = {n: [f for f in fs if block.start <= f < block.stop] for n, fs in ranked.items()}
        if not any(inside.values()):
            continue
        sample = read_sample(store, encoder.at or "", where, encoder=encoder, features=block)
        for name, features in inside.items():
            keep, truth = sample.truth(labels.labelled[name].truth)
            local = [f - block.start for f in features]
            mine = sample.rows(keep)
            fired = None if mine.fired is None else mine.fired[:, local]
            _, episode = np.unique(mine.episode, return_inverse=True)
            sums = Sums.of(mine.values[:, local], truth, fired, episode.reshape(-1))
            drawn = resampled(sums, _DRAWS, seed)
            scores = np.where(np.isnan(drawn.d), np.nan, drawn.score)
            for i, feature in enumerate(features):
                found[name][feature] = interval(scores[:, i])
    return found


def interval(draws: Floats) -> tuple[float | None, float | None]:
    """The central 95% of resamples that can be computed; none where half of them cannot."""
    known = draws[~np.isnan(draws)]
    if len(known) < len(draws) / 2:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _record(
    concept: Concept,
    standing: Standing,
    tested: Contrasted,
    found: tuple[Truth, Floats],
    features: Sequence[int],
    intervals: dict[int, tuple[float | None, float | None]],
) -> ConceptFeatures:
    stands, q = found
    controls = matched(tested.rate, features, stands)
    return ConceptFeatures(
        concept=concept.name,
        group=concept.group,
        about=concept.about,
        moments_in=standing.moments_in,
        moments=standing.moments,
        episodes_in=standing.episodes_in,
        episodes=standing.episodes,
        tasks_in=standing.tasks_in,
        tasks=standing.tasks,
        by_task=standing.by_task,
        discoveries=int(stands.sum()),
        features=tuple(
            FeatureScore(
                feature=f,
                d=float(tested.d[f]),
                freq=float(tested.freq[f]),
                rate=float(tested.rate[f]),
                score=float(tested.score[f]),
                low=intervals[f][0],
                high=intervals[f][1],
                level=level_of(float(tested.d[f])),
                p=float(np.nan_to_num(tested.p[f], nan=1.0)),
                q=float(q[f]),
                stands=bool(stands[f]),
                task_held_out=known(tested.task_held_out[f]),
                within_task=known(tested.within_task[f]),
                control=controls.get(f),
                control_rate=float(tested.rate[controls[f]]) if f in controls else None,
            )
            for f in features
        ),
    )


def matched(rates: Floats, features: Sequence[int], stands: Truth) -> dict[int, int]:
    """For each feature another that fires about as often and does not stand, none twice.

    Closeness is that of logarithms, as rates spread over orders of magnitude.
    """
    free = [f for f in np.flatnonzero((rates > 0) & ~stands).tolist() if f not in features]
    found: dict[int, int] = {}
    for feature in features:
        if free and rates[feature] > 0:
            gaps = np.abs(np.log(rates[free]) - np.log(rates[feature]))
            found[feature] = free.pop(int(np.argmin(gaps)))
    return found


def known(value: float) -> float | None:
    """A number, or None for NaN."""
    return None if np.isnan(value) else float(value)
