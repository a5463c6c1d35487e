"""At which moments of a run each concept holds, and which concepts say nothing there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlascope import plugins
from vlascope.errors import UnusableActivations, VlascopeError
from vlascope_probes.concepts.objects import quantity
from vlascope_probes.concepts.predicates import Predicate, Quantile, Within
from vlascope_probes.concepts.scene import Episode, Floats
from vlascope_probes.concepts.vocabulary import Vocabulary
from vlascope_probes.evidence import Evidence

__all__ = ["Labelled", "Labels", "Standing", "episodes_of", "label", "refuse_unusable"]

Truth = npt.NDArray[np.bool_]
Verdict = Literal["usable", "not applicable here", "matches no moment", "matches every moment"]


@dataclass(frozen=True)
class Standing:
    """What a concept is worth in a run.

    Attributes:
        name: of the concept.
        verdict: whether it can be scored, or why not.
        moments_in, moments: at how many of the moments it holds.
        episodes_in, episodes: in how many episodes it holds at any of them.
        tasks_in, tasks: likewise tasks.
        by_task: whether every moment of a task has the same truth (a concept of the instruction).
    """

    name: str
    verdict: Verdict
    moments_in: int = 0
    moments: int = 0
    episodes_in: int = 0
    episodes: int = 0
    tasks_in: int = 0
    tasks: int = 0
    by_task: bool = False


@dataclass(frozen=True, eq=False)
class Labelled:
    """One concept's truth by episode, bool (moments,) each; episodes that cannot say are absent."""

    name: str
    truth: Mapping[str, Truth]


@dataclass(frozen=True, eq=False)
class Labels:
    """What every concept says of a run's moments.

    Attributes:
        labelled: by concept.
        tasks: the task of each episode.
        standing: by concept.
    """

    labelled: Mapping[str, Labelled]
    tasks: Mapping[str, str]
    standing: Mapping[str, Standing] = field(default_factory=dict)

    @property
    def usable(self) -> list[str]:
        """The concepts that can be scored."""
        return [name for name, found in self.standing.items() if found.verdict == "usable"]


def label(
    vocabulary: Vocabulary,
    episodes: Sequence[Episode],
    steps: Mapping[str, npt.NDArray[np.integer]] | None = None,
    *,
    known: Vocabulary | None = None,
    reference: Sequence[Episode] | None = None,
) -> Labels:
    """Ask every concept of every episode.

    Args:
        vocabulary: the concepts asked.
        episodes: of one run.
        steps: the moments that count, by episode (those with recorded activations); None for all.
        known: the whole vocabulary, for concepts that refer to others.
        reference: the episodes whose quantiles count; None for these very ones.
    """
    within = _within(known or vocabulary, reference or episodes)
    tasks = {e.name: e.task for e in episodes}
    labelled, standing = {}, {}
    for name, concept in vocabulary.concepts.items():
        truth = {e.name: t for e in episodes if (t := concept.when.holds(e, within)) is not None}
        labelled[name] = Labelled(name, truth)
        standing[name] = _standing(name, truth, tasks, steps)
    return Labels(labelled, tasks, standing)


def refuse_unusable(labels: Labels, asked: Sequence[str]) -> None:
    """Refuse concepts that were asked for by name and say nothing here.

    Raises:
        UnusableActivations: naming each and why.
    """
    bad = [labels.standing[name] for name in asked if labels.standing[name].verdict != "usable"]
    if bad:
        listed = "; ".join(f"{s.name} ({s.verdict})" for s in bad)
        raise UnusableActivations(
            f"these concepts have nothing to be contrasted with in this run: {listed}; leave them "
            "out, or say in a vocabulary of your own when they hold here"
        )


def episodes_of(evidence: Mapping[str, Evidence]) -> list[Episode]:
    """What concepts may be asked of, from a run's episodes."""
    columns: dict[str, Mapping[str, Sequence[str]]] = {}
    found = []
    for name, one in evidence.items():
        record = one.record
        if record.benchmark not in columns:
            columns[record.benchmark] = _column_names(record.benchmark)
        found.append(
            Episode(
                name=name,
                task=record.plan.task,
                text=record.instruction,
                moments=record.steps + 1,
                hand=one.hand,
                objects=one.objects,
                actions=one.actions,
                state=_state(one.state, columns[record.benchmark]),
                holds=one.predicates,
                success_step=one.decided_step,
            )
        )
    ranges = _ranges(found)
    return [replace(episode, ranges=ranges) for episode in found]


def _ranges(episodes: Sequence[Episode]) -> dict[str, tuple[float, float]]:
    """The smallest and largest finite value of each state column."""
    names = dict.fromkeys(name for episode in episodes for name in episode.state)
    found = {}
    for name in names:
        values = np.concatenate([e.state[name] for e in episodes if name in e.state])
        finite = values[np.isfinite(values)]
        if len(finite):
            found[name] = (float(finite.min()), float(finite.max()))
    return found


def _column_names(benchmark: str) -> Mapping[str, Sequence[str]]:
    """What the state's columns are called, by stream; empty where it is not installed."""
    name, _, options = benchmark.partition(" ")
    try:
        env = plugins.benchmark_class(name)(**(json.loads(options) if options else {}))
    except (VlascopeError, TypeError, ValueError):
        return {}
    try:
        return {stream: spec.names for stream, spec in env.info.state.items()}
    finally:
        env.close()


def _state(streams: Mapping[str, Floats], names: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
    """One track per column, `stream.column`."""
    return {
        f"{stream}.{names[stream][i] if i < len(names.get(stream, ())) else i}": values[:, i]
        for stream, values in streams.items()
        for i in range(values.shape[1])
    }


def _within(vocabulary: Vocabulary, episodes: Sequence[Episode]) -> Within:
    """What predicates are read against: settings, the run's quantiles, other concepts."""
    bounds: dict[tuple[str, str | tuple[str, ...], float], float] = {}

    def bound(name: str, of: str | tuple[str, ...], quantile: Quantile) -> float:
        key = (name, of, quantile.share)
        if key not in bounds:
            tracks = [quantity(name, e, vocabulary.setting, of) for e in episodes]
            known = [t[np.isfinite(t)] for t in tracks if t is not None]
            together = np.concatenate(known) if known else np.empty(0)
            bounds[key] = float(np.quantile(together, quantile.share)) if len(together) else np.nan
        return bounds[key]

    def concept(name: str) -> Predicate:
        return vocabulary[name].when

    return Within(vocabulary.setting, bound, concept)


def _standing(
    name: str,
    truth: Mapping[str, Truth],
    tasks: Mapping[str, str],
    steps: Mapping[str, npt.NDArray[np.integer]] | None,
) -> Standing:
    counted = {
        e: t if steps is None else t[steps[e][steps[e] < len(t)]]
        for e, t in truth.items()
        if steps is None or e in steps
    }
    counted = {e: t for e, t in counted.items() if len(t)}
    if not counted:
        return Standing(name, "not applicable here")
    total, held = sum(map(len, counted.values())), sum(int(t.sum()) for t in counted.values())
    by_task: dict[str, set[bool]] = {}
    for episode, t in counted.items():
        by_task.setdefault(tasks[episode], set()).update(np.unique(t).tolist())
    verdict: Verdict = "usable"
    if held in (0, total):
        verdict = "matches no moment" if held == 0 else "matches every moment"
    return Standing(
        name,
        verdict,
        held,
        total,
        sum(bool(t.any()) for t in counted.values()),
        len(counted),
        sum(True in values for values in by_task.values()),
        len(by_task),
        all(len(values) == 1 for values in by_task.values()),
    )
