"""In which calls of a chunk a place's tokens are."""

from __future__ import annotations

import numpy as np
import pytest

from vlascope.store import Where
from vlascope_probes.concepts.overview import ALL_TOKENS, calls_of


class Rows:
    """A stub of a store's rows: their calls, and nothing else."""

    def __init__(self, calls):
        self.calls = np.array(calls, dtype=np.int32)

    def column(self, name):
        assert name == "call"
        return self.calls


class Store:
    """A stub of a recording of one point, rows by span."""

    def __init__(self, **spans):
        self.spans = spans

    def by_unit(self, point, where: Where | None = None):
        named = self.spans if where is None else {s: self.spans[s] for s in where.spans}
        yield Rows([call for calls in named.values() for call in calls])


@pytest.mark.parametrize(
    ("span", "calls"),
    [("prompt", (0,)), ("said", (1, 2)), ("everywhere", None), (ALL_TOKENS, None)],
)
def test_a_prompt_read_once_is_edited_once(span, calls):
    store = Store(prompt=[0, 0, 0], said=[1, 2], everywhere=[0, 1, 2])
    assert calls_of(store, ("vlm.0.resid_post", span)) == calls
