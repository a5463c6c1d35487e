"""Logistic probes for labels: scikit-learn's, exact in memory, by stochastic steps beyond it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.outcome import Outcome, ratio_interval
from vlascope_probes.linear.rows import Features, HeldFeatures
from vlascope_probes.linear.splits import Split

__all__ = ["Fitted", "classification_outcome", "fit_labels"]

Floats = npt.NDArray[np.float64]
_EPOCHS, _STRIP = 3, 8192


class Fitted(Protocol):
    """What scikit-learn's linear classifiers have in common."""

    coef_: Any
    intercept_: Any
    classes_: Any

    def decision_function(self, x: Any) -> Any:
        """(rows,) for two labels, (rows, classes) otherwise."""


@dataclass(frozen=True, eq=False)
class LabelProbe:
    """A classifier on standardised activations."""

    model: Fitted
    mean: Floats
    inverse: Floats

    def decisions(self, x: npt.NDArray[np.float32]) -> Floats:
        """A score per class, (rows, classes); for two labels one is minus the other."""
        found = np.asarray(self.model.decision_function((x - self.mean) * self.inverse), float)
        return np.stack([-found, found], axis=1) if found.ndim == 1 else found

    @property
    def weights(self) -> Floats:
        """(classes, width) on raw activations; one row for two labels, towards the second."""
        return np.asarray(self.model.coef_, float) * self.inverse


def classification_outcome(
    features: Features,
    codes: npt.NDArray[np.int64],
    controls: Sequence[tuple[npt.NDArray[np.int64], Split]],
    split: Split,
    options: ProbeOptions,
) -> Outcome:
    """Held-out balanced accuracy (chance is 1/classes), with episode intervals and controls.

    Args:
        features: the rows.
        codes: label number of every row, -1 for none.
        controls: the same after each shuffle, with folds stratified anew.
        split: folds; -1 where a row is left out.
        options: how to fit.
    """
    classes = int(codes.max()) + 1
    hits, rows, auc = _held_out(features, codes, split, options, classes)
    value = _balanced(hits, rows)
    estimate = ratio_interval(hits, rows, "mean", options.seed, value)
    shuffled = tuple(
        _balanced(*_held_out(features, dealt, folds, options, classes, rank=False)[:2])
        for dealt, folds in controls
    )
    return Outcome(estimate, shuffled, int((split.fold >= 0).sum()), auc)


def fit_labels(
    features: Features,
    codes: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    options: ProbeOptions,
) -> LabelProbe:
    """One probe for the wanted rows; classes weigh equally however common they are."""
    if isinstance(features, HeldFeatures):
        return _exact(features.block.x[wanted], codes[wanted], options)
    return _stochastic(features, codes, wanted, options)


def _held_out(
    features: Features,
    codes: npt.NDArray[np.int64],
    split: Split,
    options: ProbeOptions,
    classes: int,
    *,
    rank: bool = True,
) -> tuple[Floats, Floats, float | None]:
    """Hits and rows by episode and class, and the mean AUC over folds."""
    hits = np.zeros((len(features.episodes), classes))
    rows = np.zeros_like(hits)
    ranks = []
    for k in range(split.count):
        train = (split.fold >= 0) & (split.fold != k)
        if len(np.unique(codes[train])) < 2:
            continue
        probe = fit_labels(features, codes, train, options)
        truth, scores = [], []
        for x, code, episode in _strips(features, codes, split.fold == k):
            decided = probe.decisions(x)
            guess = np.asarray(probe.model.classes_)[decided.argmax(1)]
            np.add.at(hits, (episode, code), guess == code)
            np.add.at(rows, (episode, code), 1.0)
            truth.append(code)
            scores.append(decided[:, -1])
        if rank and classes == 2 and truth:
            ranks.append(_auc(np.concatenate(truth), np.concatenate(scores)))
    known = [r for r in ranks if r is not None]
    seen = rows.sum(1) > 0
    return hits[seen], rows[seen], float(np.mean(known)) if known else None


def _balanced(hits: Floats, rows: Floats) -> float:
    """Mean share of hits over classes; that of guessing where no probe could be fitted at all."""
    total = rows.sum(0)
    if not total.any():
        return 1 / rows.shape[1]
    return float(np.mean(hits.sum(0)[total > 0] / total[total > 0]))


def _auc(truth: npt.NDArray[np.int64], score: Floats) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score)) if len(np.unique(truth)) == 2 else None


def _exact(
    x: npt.NDArray[np.float32], codes: npt.NDArray[np.int64], options: ProbeOptions
) -> LabelProbe:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, inverse = _standard(x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64))
    model = LogisticRegression(
        C=options.inverse_penalty, class_weight="balanced", max_iter=300, tol=1e-3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) * inverse, codes)
    return LabelProbe(model, mean, inverse)


def _stochastic(
    features: Features,
    codes: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    options: ProbeOptions,
) -> LabelProbe:
    """Averaged SGD on the logistic loss; rows are mixed within a buffer of 32,768."""
    from sklearn.linear_model import SGDClassifier

    n, first, second = 0, 0.0, 0.0
    for x, _, _ in _strips(features, codes, wanted):
        wide = x.astype(np.float64)
        n, first, second = n + len(x), first + wide.sum(0), second + (wide**2).sum(0)
    mean = np.asarray(first / n)
    deviation = np.sqrt(np.clip(second / n - mean**2, 0, None))
    mean, inverse = _standard(mean, deviation)
    classes, counts = np.unique(codes[wanted], return_counts=True)
    weight = np.zeros(classes.max() + 1)
    weight[classes] = n / (len(classes) * counts)
    alpha = 1 / (options.inverse_penalty * n)
    model = SGDClassifier(loss="log_loss", alpha=alpha, average=True, random_state=options.seed)
    rng = np.random.default_rng(options.seed)
    for _ in range(_EPOCHS):
        for x, code, _ in _mixed(_strips(features, codes, wanted), rng):
            scaled = (x - mean) * inverse
            model.partial_fit(scaled, code, classes=classes, sample_weight=weight[code])
    return LabelProbe(model, mean, inverse)


def _standard(mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    flat = deviation <= 1e-6 * max(float(deviation.max(initial=0)), 1e-30)
    return mean, np.where(flat, 0.0, 1 / np.where(flat, 1.0, deviation))


_Strip = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _strips(
    features: Features, codes: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_]
) -> Iterator[_Strip]:
    """The wanted rows, their codes and episodes, some thousands at a time."""
    start = 0
    for block in features.blocks():
        rows = np.flatnonzero(wanted[start : start + len(block.x)])
        for first in range(0, len(rows), _STRIP):
            some = rows[first : first + _STRIP]
            yield block.x[some], codes[start + some], block.episode[some]
        start += len(block.x)


def _mixed(strips: Iterator[_Strip], rng: np.random.Generator) -> Iterator[_Strip]:
    """Strips gathered to some thousands of rows, which are shuffled."""
    held: list[_Strip] = []
    for strip in strips:
        held.append(strip)
        if sum(len(s[0]) for s in held) >= 4 * _STRIP:
            yield _shuffled(held, rng)
            held = []
    if held:
        yield _shuffled(held, rng)


def _shuffled(held: list[_Strip], rng: np.random.Generator) -> _Strip:
    x, code, episode = (np.concatenate(parts) for parts in zip(*held, strict=True))
    order = rng.permutation(len(x))
    return x[order], code[order], episode[order]
