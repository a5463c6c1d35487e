"""Rows by episode: which tokens count, how firings are pooled, how ratios are judged."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Where
from vlascope.store.schema import Provenance
from vlascope.store.unit import Entry
from vlascope_sae.evaluation.ratios import bootstrap_ratio
from vlascope_sae.recipes.rows import read_rows, real_spans

POINT = HookPoint.parse("vlm.0.resid_post")
SPANS = TokenSpans({"padding": (0, 1), "instruction": (1, 3)})


@pytest.fixture
def store(tmp_path):
    about = Provenance(
        adapter="a", checkpoint="c", checkpoint_hash="h", spec=RecordSpec(at=(str(POINT),))
    )
    made = ActivationStore.create(tmp_path / "store", about)
    for number, name in enumerate(("baseline/x/0", "baseline/x/1")):
        entries = [
            Entry(Moment(name, 2 * c, c), (0, 1, 2), SPANS, _values(number, c)) for c in range(4)
        ]
        made.write(name, {POINT: entries}, {name: {"task": "x"}})
    return made


def _values(number, chunk):
    """Padding is a thousand; the two words are 1 and 3, plus the episode and the chunk."""
    return torch.tensor([[1000.0], [1.0], [3.0]]).expand(3, 2) + 10 * number + chunk


def test_padding_is_left_out_of_rows_and_of_means(store):
    spans = real_spans(store, str(POINT))
    assert spans == ("instruction",)
    first, second = read_rows(store, str(POINT), Where(spans=spans), most=100, seed=0)
    assert first.tokens[:, 0].tolist() == [1, 3, 2, 4, 3, 5, 4, 6]
    assert first.pooled[:, 0].tolist() == [2, 3, 4, 5]
    assert second.pooled[:, 0].tolist() == [12, 13, 14, 15]


def test_without_padding_every_token_counts():
    unit = SimpleNamespace(points={"vlm.0.resid_post": None}, spans=("image.top", "state"))
    assert real_spans(SimpleNamespace(units=[unit]), "vlm.0.resid_post") is None


def test_of_too_many_rows_every_episode_keeps_the_same_share_and_pools_all(store):
    some = read_rows(store, str(POINT), Where(), most=12, seed=0)
    assert [len(e.tokens) for e in some] == [6, 6]
    assert [len(e.pooled) for e in some] == [4, 4]
    again = read_rows(store, str(POINT), Where(episodes=("*/1",)), most=6, seed=0)
    assert torch.equal(again[0].tokens, some[1].tokens)


def test_a_ratio_is_of_sums_and_its_interval_of_episodes():
    found = bootstrap_ratio([1, 3], [2, 10])
    assert found.value == pytest.approx(4 / 12)
    assert (found.low, found.high, found.n) == (pytest.approx(0.3), pytest.approx(0.5), 2)


def test_one_episode_has_no_interval_and_none_no_value():
    alone = bootstrap_ratio([1], [4])
    assert (alone.value, alone.low, alone.high) == (0.25, None, None)
    assert bootstrap_ratio([0, 0], [0, 0]).value is None
