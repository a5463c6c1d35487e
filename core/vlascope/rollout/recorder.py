"""Activations of the episodes in flight, written when an episode is over."""

from __future__ import annotations

from collections import defaultdict

from vlascope.hooks import HookPoint
from vlascope.recording import ActivationCache
from vlascope.records import EpisodeRecord
from vlascope.store.schema import Labels
from vlascope.store.store import ActivationStore
from vlascope.store.unit import Entry

__all__ = ["Recorder"]


class Recorder:
    """Sorts what a recording session caught by episode; memory holds the unfinished ones.

    Args:
        cache: the open recording session's; emptied after every inference.
        store: where finished episodes go, one unit each.
    """

    def __init__(self, cache: ActivationCache, store: ActivationStore) -> None:
        self._cache, self._store = cache, store
        self._episodes: dict[str, dict[HookPoint, list[Entry]]] = {}

    def gather(self) -> None:
        """Take what the last inference recorded."""
        for point in self._cache:
            for captured in self._cache[point]:
                firing, alone = captured.firing, len(captured.rows) == 1
                for i, value in enumerate(captured.rows):
                    # A row is a view of its batch, which would stay alive with it.
                    own = value.to("cpu", copy=not alone)
                    spans = firing.spans[i] if firing.spans else None
                    entry = Entry(firing.moments[i], captured.tokens[i], spans, own)
                    self._of(entry.moment.episode)[point].append(entry)
        self._cache.clear()

    def commit(self, record: EpisodeRecord) -> None:
        """Write one finished episode's activations, whole, and let go of them."""
        plan = record.plan
        labels: Labels = {
            "arm": plan.arm,
            "task": plan.task,
            "seed": plan.seed,
            "instruction": record.instruction,
            "scene": record.scene,
            "success": record.success,
            "steps": record.steps,
        }
        entries = self._of(plan.episode)
        self._store.write(plan.episode, entries, {plan.episode: labels})
        self.drop(plan.episode)

    def drop(self, episode: str) -> None:
        """Forget an episode's activations."""
        self._episodes.pop(episode, None)

    def _of(self, episode: str) -> dict[HookPoint, list[Entry]]:
        return self._episodes.setdefault(episode, defaultdict(list))
