"""Which concepts exist at which layer of which pathway: raw directions at every recorded place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from vlascope.directions import Direction
from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint, match_points
from vlascope.store import ActivationStore, Where
from vlascope_probes.concepts.contrast import level_of
from vlascope_probes.concepts.directions import Separation, concept_direction, separate
from vlascope_probes.concepts.labelling import Labels, label, refuse_unusable
from vlascope_probes.concepts.nulls import discoveries
from vlascope_probes.concepts.results import DirectionScore, Overview
from vlascope_probes.concepts.sample import Sample, read_sample, recorded_steps
from vlascope_probes.concepts.scene import Episode
from vlascope_probes.concepts.scoring import permuter_of
from vlascope_probes.concepts.vocabulary import Vocabulary

__all__ = ["ALL_TOKENS", "Place", "calls_of", "find_directions", "overview", "places_of"]

Place = tuple[str, str]
"""A hook point and a token span; an empty span is all tokens."""

ALL_TOKENS = ""
_SILENT = ("padding",)


def places_of(
    store: ActivationStore, points: Sequence[str] = ("*",), tokens: Sequence[str] = ("*",)
) -> list[Place]:
    """Every hook point with each of its token spans; all tokens where there are none."""
    found: list[Place] = []
    for point in match_points(points, store.points, f"the store {store.path}"):
        spans = _spans(store, point)
        kept = [s for s in spans if any(fnmatchcase(s, g) for g in tokens)]
        found.extend((str(point), span) for span in kept)
        if not spans:
            found.append((str(point), ALL_TOKENS))
    if not found:
        known = sorted({s for p in store.points for s in _spans(store, p)})
        raise UnusableActivations(f"no token span matches {list(tokens)}; there are {known}")
    return found


def calls_of(store: ActivationStore, place: Place) -> tuple[int, ...] | None:
    """The calls of a chunk that have the place's tokens; None where all of its point's have.

    A policy that says its action token by token has the prompt's tokens in its first call alone.
    """
    point, span = place
    if span == ALL_TOKENS:
        return None
    every = next(store.by_unit(point)).column("call")
    own = next(store.by_unit(point, Where(spans=(span,)))).column("call")
    calls = tuple(np.unique(own).tolist())
    return None if calls == tuple(np.unique(every).tolist()) else calls


def overview(
    store: ActivationStore,
    vocabulary: Vocabulary,
    episodes: Sequence[Episode],
    places: Sequence[Place],
    *,
    where: Where | None = None,
    concepts: Sequence[str] = (),
    permutations: int = 500,
    fdr: float = 0.05,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Overview:
    """Judge every usable concept's direction at every place.

    Args:
        store: the recording, of which one place is in memory at a time.
        vocabulary: the concepts.
        episodes: of the same run, see `episodes_of`.
        places: see `places_of`.
        where: which episodes and calls; the tokens are those of the places.
        concepts: only these, which must be usable; none for every usable one.
        permutations: draws of the null; the smallest p-values get as many as the correction needs.
        fdr: false discovery rate, over the places of each concept and over concepts.
        seed: of draws and resamples.
        say: told of every place.

    Raises:
        UnusableActivations: a concept named holds at no or every moment.
    """
    chosen = vocabulary.among(concepts) if concepts else vocabulary
    judged: dict[str, dict[Place, tuple[Separation, Labels]]] = {}
    left_out: dict[str, str] = {}
    for place in places:
        sample, labels = _labelled(store, place, where, chosen, vocabulary, episodes)
        refuse_unusable(labels, concepts)
        left_out |= {n: s.verdict for n, s in labels.standing.items() if s.verdict != "usable"}
        for name in labels.usable:
            found = _separation(sample, labels, name, permutations, len(places), fdr, seed)
            if found is not None:
                judged.setdefault(name, {})[place] = (found, labels)
        say(f"{place[0]} {place[1] or 'all tokens'}: {len(labels.usable)} concepts")
    stands = discoveries(
        {n: np.array([s.p for s, _ in by.values()]) for n, by in judged.items()}, fdr
    )
    scores = [
        _score(vocabulary[n].group, n, place, found, labels, q, bool(stands[n][0][i]))
        for n, by in judged.items()
        for i, ((place, (found, labels)), q) in enumerate(
            zip(by.items(), stands[n][1], strict=True)
        )
    ]
    return Overview(
        store=str(store.path),
        places=tuple(places),
        fdr=fdr,
        permutations=permutations,
        scores=tuple(scores),
        left_out={n: why for n, why in left_out.items() if n not in judged},
    )


def find_directions(
    store: ActivationStore,
    vocabulary: Vocabulary,
    episodes: Sequence[Episode],
    wanted: Sequence[tuple[str, Place]],
    *,
    where: Where | None = None,
) -> list[Direction]:
    """The directions of some (concept, place), named `concept@point/span`."""
    found: list[Direction] = []
    for place in dict.fromkeys(p for _, p in wanted):
        names = [n for n, p in wanted if p == place]
        chosen = vocabulary.among(names)
        sample, labels = _labelled(store, place, where, chosen, vocabulary, episodes)
        refuse_unusable(labels, names)
        for name in names:
            keep, truth = sample.truth(labels.labelled[name].truth)
            about = f"{vocabulary[name].about} ({place[1] or 'all tokens'})"
            made = concept_direction(
                sample.rows(keep), truth, direction_name(name, place), place[0], about
            )
            found.append(made)
    return found


def direction_name(concept: str, place: Place) -> str:
    """What a concept's direction is called in a file of directions."""
    return f"{concept}@{place[0]}" + (f"/{place[1]}" if place[1] else "")


def _labelled(
    store: ActivationStore,
    place: Place,
    where: Where | None,
    chosen: Vocabulary,
    vocabulary: Vocabulary,
    episodes: Sequence[Episode],
) -> tuple[Sample, Labels]:
    point, span = place
    here = replace(where or Where(), spans=(span,) if span else None)
    steps = recorded_steps(store, point, here)
    known = [e for e in episodes if e.name in steps]
    labels = label(chosen, known, steps, known=vocabulary)
    return read_sample(store, point, here), labels


def _separation(
    sample: Sample,
    labels: Labels,
    name: str,
    permutations: int,
    tests: int,
    fdr: float,
    seed: int,
) -> Separation | None:
    """None where too few episodes can say anything."""
    keep, truth = sample.truth(labels.labelled[name].truth)
    mine = sample.rows(keep)
    if len(np.unique(mine.episode)) < 2 or truth.all() or not truth.any():
        return None
    permuter = permuter_of(mine, truth, by_task=labels.standing[name].by_task)
    found = separate(
        mine, truth, permuter, permutations=permutations, tests=tests, fdr=fdr, seed=seed
    )
    return None if np.isnan(found.auc) else found


def _score(
    group: str,
    name: str,
    place: Place,
    found: Separation,
    labels: Labels,
    q: float,
    stands: bool,
) -> DirectionScore:
    standing = labels.standing[name]
    return DirectionScore(
        concept=name,
        group=group,
        point=place[0],
        span=place[1],
        auc=found.auc,
        low=found.low,
        high=found.high,
        d=found.d,
        level=level_of(found.d),
        p=found.p,
        q=float(q),
        stands=stands,
        task_held_out=found.task_held_out,
        within_task=found.within_task,
        moments_in=standing.moments_in,
        moments=standing.moments,
        episodes=standing.episodes,
        tasks_in=standing.tasks_in,
        by_task=standing.by_task,
    )


def _spans(store: ActivationStore, point: HookPoint) -> list[str]:
    """The token spans at a point, as the first moment of each episode has them, but padding."""
    first = {moment.episode: moment for moment in reversed(store.moments(point))}
    found: dict[str, None] = {}
    for moment in first.values():
        found.update(dict.fromkeys(store.spans_at(point, moment) or {}))
    return [span for span in found if span not in _SILENT]
