"""Layer × target maps: every target at every hook point, with controls, baseline and flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint, match_points
from vlascope.store import ActivationStore
from vlascope_probes.evidence import Evidence, Floats
from vlascope_probes.linear.classification import classification_outcome
from vlascope_probes.linear.flags import flags_of
from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.outcome import Outcome, permutation_p
from vlascope_probes.linear.regression import columns_by_gaps, regression_outcomes, statistics_of
from vlascope_probes.linear.results import ProbeMap, ProbeScore
from vlascope_probes.linear.rows import Features, HeldFeatures, StoredFeatures, values_of
from vlascope_probes.linear.shuffles import shuffled
from vlascope_probes.linear.splits import Split, by_episode, by_task
from vlascope_probes.linear.targets import Target, catalogue, chosen

__all__ = ["coded", "features_at", "fit_features", "fit_map", "raw_state"]

_EPISODE_LABELS = ("task", "instruction")
"""Targets that name the task, which no held-out task can share."""


def fit_map(
    store: ActivationStore,
    evidence: Mapping[str, Evidence],
    points: str | Sequence[str],
    options: ProbeOptions | None = None,
    *,
    action_names: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> ProbeMap:
    """Probe a recording.

    Args:
        store: the activations.
        evidence: its episodes (`read_evidence`); rows of other episodes are passed over.
        points: globs of hook points.
        options: what is probed for, and how.
        action_names: of the action's dimensions, to name the targets `action.<name>`.
        say: told of every point when it is done.

    Raises:
        UnknownName: a glob names no hook point of the store, or no target.
        UnusableActivations: a target named outright does not vary, or there is nothing to read.
    """
    options = options or ProbeOptions()
    evidence = {n: e for n, e in evidence.items() if n in store}
    if not evidence:
        raise UnusableActivations(
            f"none of the episodes given was recorded in {store.path}; record them (an arm with "
            "`record:`), or give the run that belongs to the store"
        )
    targets, skipped = chosen(catalogue(evidence, action_names), options.targets)
    at = match_points(points, store.points, f"the store {store.path}")
    scores: list[ProbeScore] = []
    for point in at:
        features = features_at(store, point, evidence, options)
        scores.extend(fit_features(features, str(point), targets, evidence, options))
        say(f"{point}: {len(targets)} targets")
    provenance = store.provenance
    return ProbeMap(
        policy={
            "adapter": provenance.adapter,
            "checkpoint": provenance.checkpoint,
            "checkpoint_hash": provenance.checkpoint_hash,
        },
        recording=str(store.path),
        episodes=len(evidence),
        options=options,
        scores=tuple(flags_of(scores)),
        skipped=skipped,
    )


def features_at(
    store: ActivationStore,
    point: HookPoint,
    evidence: Mapping[str, Evidence],
    options: ProbeOptions,
) -> Features:
    """The rows of a point: held where they fit into `memory_mb`, streamed otherwise."""
    streamed = StoredFeatures(store, point, list(evidence), options)
    return streamed.held() if streamed.megabytes <= options.memory_mb else streamed


def fit_features(
    features: Features,
    place: str,
    targets: Sequence[Target],
    evidence: Mapping[str, Evidence],
    options: ProbeOptions,
) -> list[ProbeScore]:
    """Every target on the rows of one place; `place` only names it."""
    job = _Job(features, place, evidence, options)
    found = {s.target: s for s in job.numbers([t for t in targets if t.kind == "regression"])}
    for target in targets:
        if target.kind == "classification" and (score := job.labels(target)) is not None:
            found[target.name] = score
    return [found[t.name] for t in targets if t.name in found]


def raw_state(evidence: Mapping[str, Evidence], *, clock: bool) -> dict[str, Floats] | None:
    """What the policy is told of the robot, by episode, (steps + 1, n), or else where its hand is.

    None where some episode has neither, or the episodes differ in what they have.
    """
    tracks: dict[str, Floats] = {}
    for name, e in evidence.items():
        parts = [e.state[stream] for stream in sorted(e.state)]
        if not parts and e.hand is not None:
            parts = [e.hand]
        if not parts:
            return None
        if clock:
            parts.append(np.arange(e.steps + 1, dtype=np.float64)[:, None])
        tracks[name] = np.concatenate(parts, axis=1)
    widths = {t.shape[1] for t in tracks.values()}
    return tracks if len(widths) == 1 else None


def coded(values: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels as numbers, -1 for None, and their names in order."""
    names = sorted({str(v) for v in values if v is not None})
    number = {name: i for i, name in enumerate(names)}
    codes = [-1 if v is None else number[str(v)] for v in values]
    return np.array(codes, np.int64), names


@dataclass(frozen=True, eq=False)
class _Job:
    """One place; the controls of a target are the same at every place."""

    features: Features
    place: str
    evidence: Mapping[str, Evidence]
    options: ProbeOptions

    def numbers(self, targets: Sequence[Target]) -> list[ProbeScore]:
        """Regression targets that have values at the same rows are fitted together."""
        values = [np.asarray(values_of(t, self.features), np.float64) for t in targets]
        scores = []
        for group in columns_by_gaps(values):
            y = np.stack([values[i] for i in group], axis=1)
            usable = ~np.isnan(y[:, 0])
            if not usable.any():
                continue
            y[~usable] = 0.0
            some = [targets[i] for i in group]
            split = by_episode(self._episode, usable, self.options.folds, self.options.seed)
            controls = self._controls(some)
            outcomes = self._regress(self.features, y, split, controls)
            raw = self._raw_outcomes(y, split, clock=False)
            away = self._away(usable)
            held = self._regress(self.features, y, away) if away else None
            for i, target in enumerate(some):
                scores.append(
                    _score(
                        self.place,
                        target,
                        outcomes[i],
                        raw=None if raw is None else raw[i].estimate.value,
                        held=None if held is None else held[i].estimate.value,
                    )
                )
        return scores

    def labels(self, target: Target) -> ProbeScore | None:
        """One classification target; None where the rows read do not show two labels."""
        codes, names = coded(values_of(target, self.features))
        usable = codes >= 0
        if len(np.unique(codes[usable])) < 2:
            return None
        split = self._stratified(codes)
        controls = []
        for r in range(self.options.label_controls):
            dealt = values_of(shuffled(target, self._rng(target, r)), self.features)
            number = {name: i for i, name in enumerate(names)}
            control = np.array([-1 if v is None else number[str(v)] for v in dealt], np.int64)
            controls.append((control, self._stratified(control)))
        outcome = classification_outcome(self.features, codes, controls, split, self.options)
        raw = None
        tracks = raw_state(self._own, clock=target.name == "success")
        if tracks is not None:
            told = HeldFeatures.of_tracks(tracks, self.features)
            found = classification_outcome(told, codes, [], split, self.options)
            raw = found.estimate.value
        held = None
        if target.name not in _EPISODE_LABELS and (away := self._away(usable)) is not None:
            other = classification_outcome(self.features, codes, [], away, self.options)
            held = other.estimate.value
        return _score(self.place, target, outcome, raw=raw, held=held, chance=1 / len(names))

    @property
    def _episode(self) -> npt.NDArray[np.int64]:
        return self.features.coordinates[0]

    @property
    def _own(self) -> dict[str, Evidence]:
        return {n: self.evidence[n] for n in self.features.episodes}

    def _stratified(self, codes: npt.NDArray[np.int64]) -> Split:
        options = self.options
        return by_episode(self._episode, codes >= 0, options.folds, options.seed, codes.tolist())

    def _away(self, usable: npt.NDArray[np.bool_]) -> Split | None:
        if not self.options.held_out_tasks:
            return None
        tasks = {i: e.record.plan.task for i, e in enumerate(self._own.values())}
        return by_task(self._episode, usable, tasks, self.options.folds)

    def _controls(self, targets: Sequence[Target]) -> list[Target]:
        """Each repetition's shuffled targets side by side."""
        return [shuffled(t, self._rng(t, r)) for r in range(self.options.controls) for t in targets]

    def _regress(
        self, features: Features, y: Floats, split: Split, controls: Sequence[Target] = ()
    ) -> list[Outcome]:
        statistics = statistics_of(features, y, split, controls)
        return regression_outcomes(features, y, statistics, split, self.options.seed)

    def _raw_outcomes(self, y: Floats, split: Split, *, clock: bool) -> list[Outcome] | None:
        tracks = raw_state(self._own, clock=clock)
        if tracks is None:
            return None
        told = HeldFeatures.of_tracks(tracks, self.features)
        return self._regress(told, y, split)

    def _rng(self, target: Target, repetition: int) -> np.random.Generator:
        name = list(target.name.encode())
        return np.random.default_rng([self.options.seed, repetition, *name])


def _score(
    place: str,
    target: Target,
    outcome: Outcome,
    *,
    raw: float | None,
    held: float | None,
    chance: float = 0.0,
) -> ProbeScore:
    value = outcome.estimate.value or 0.0
    control = float(np.mean(outcome.controls))
    return ProbeScore(
        point=place,
        target=target.name,
        metric="R²" if target.kind == "regression" else "balanced accuracy",
        score=outcome.estimate,
        rows=outcome.rows,
        control=control,
        control_best=max(outcome.controls),
        controls=len(outcome.controls),
        selectivity=value - control,
        p=permutation_p(value, outcome.controls),
        raw_state=raw,
        held_out_tasks=held,
        auc=outcome.auc,
        chance=chance,
    )
