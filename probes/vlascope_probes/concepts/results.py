"""What scoring concepts gives: plain records, written as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vlascope_probes.concepts.contrast import Level

__all__ = ["ConceptFeatures", "DirectionScore", "FeatureScore", "FeatureScores", "Overview"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureScore(_Record):
    """One feature for one concept.

    Attributes:
        feature: its number.
        d: (mu_in - mu_out) / sqrt((s2_in + s2_out) / 2).
        freq: share of tokens in which it fires, within the concept.
        rate: the same over all moments; what a control must match.
        score: d * freq on the positive side.
        low, high: 95% interval of the score, whole episodes resampled; None where too few
            resamples have moments on both sides.
        level: of |d|, by the published bounds.
        p, q: against labels moved between episodes; q corrected within the concept.
        stands: whether it counts as a discovery at the false discovery rate asked for.
        task_held_out: the lowest score with any one task left out; None where the concept lies in
            one task, so that it cannot be told from that task's identity.
        within_task: d after each task's own mean is taken away; None where no task has both.
        control, control_rate: another feature that fires about as often and does not stand for
            the concept; None where there is none.
    """

    feature: int
    d: float
    freq: float
    rate: float
    score: float
    low: float | None
    high: float | None
    level: Level
    p: float
    q: float
    stands: bool
    task_held_out: float | None
    within_task: float | None
    control: int | None
    control_rate: float | None


class ConceptFeatures(_Record):
    """A concept's strongest features.

    Attributes:
        concept, group, about: which.
        moments_in, moments, episodes_in, episodes, tasks_in, tasks: what it was scored on.
        by_task: whether the task alone decides it.
        discoveries: how many features stand, of all that were tested.
        features: the strongest, first those that stand, by score.
    """

    concept: str
    group: str
    about: str
    moments_in: int
    moments: int
    episodes_in: int
    episodes: int
    tasks_in: int
    tasks: int
    by_task: bool
    discoveries: int
    features: tuple[FeatureScore, ...]


class FeatureScores(_Record):
    """Every concept against the features of one encoder.

    Attributes:
        encoder, point: whose features, and where.
        tested: number of features.
        fdr, permutations: how discoveries were made.
        concepts: scored.
        left_out: why each of the others was not.
    """

    schema_version: Literal["vlascope.concept-features/1"] = "vlascope.concept-features/1"
    encoder: str
    point: str
    tested: int
    fdr: float
    permutations: int
    concepts: tuple[ConceptFeatures, ...]
    left_out: dict[str, str]


class DirectionScore(_Record):
    """A concept's difference of means at one hook point and token span.

    Attributes:
        concept, group: which.
        point, span: where; an empty span is all tokens.
        auc, low, high: how well the direction of other episodes separates an episode's moments,
            with a 95% interval over episodes.
        d: standardised difference along it, again in episodes it was not found in.
        level: of |d|.
        p, q, stands: against labels moved between episodes.
        task_held_out: AUC in tasks it was not found in; None where the concept lies in one task.
        within_task: AUC within tasks; None where no task has both.
        moments_in, moments, episodes, tasks_in: what it was scored on.
        by_task: whether the task alone decides the concept.
    """

    concept: str
    group: str
    point: str
    span: str
    auc: float
    low: float | None
    high: float | None
    d: float
    level: Level
    p: float
    q: float
    stands: bool
    task_held_out: float | None
    within_task: float | None
    moments_in: int
    moments: int
    episodes: int
    tasks_in: int
    by_task: bool


class Overview(_Record):
    """Which concepts can be read where.

    Attributes:
        store: the recording.
        places: `(point, span)` in order.
        fdr, permutations: how discoveries were made.
        scores: one per concept and place.
        left_out: why concepts were not scored.
    """

    schema_version: Literal["vlascope.concept-overview/1"] = "vlascope.concept-overview/1"
    store: str
    places: tuple[tuple[str, str], ...]
    fdr: float
    permutations: int
    scores: tuple[DirectionScore, ...]
    left_out: dict[str, str]
