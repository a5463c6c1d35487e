"""Names are coordinates: they round-trip, order, and refuse what they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlascope.errors import InvalidName, UnknownName
from vlascope.hooks import (
    BLOCK_SITES,
    Firing,
    HookPoint,
    Moment,
    Pathway,
    TokenSpans,
    match_points,
)

pathways = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
layered = st.builds(HookPoint, pathways, st.integers(0, 200), st.sampled_from(BLOCK_SITES))
named = st.builds(HookPoint, pathways, st.none(), pathways.filter(lambda n: n not in BLOCK_SITES))
lengths = st.dictionaries(pathways, st.integers(0, 9), max_size=6)


@given(layered | named)
def test_a_hook_point_reads_back(point):
    assert HookPoint.parse(str(point)) == point


@given(st.text(max_size=20))
def test_text_is_a_hook_point_or_an_invalid_name(text):
    try:
        point = HookPoint.parse(text)
    except InvalidName:
        return
    assert str(point) == text


@pytest.mark.parametrize("text", ["expert.07.mlp_out", "expert.1.nowhere", "Expert.1.mlp_out", "x"])
def test_wrong_names_are_refused_with_the_right_form(text):
    with pytest.raises(InvalidName, match=r"pathway\.layer\.site"):
        HookPoint.parse(text)


@given(st.lists(layered, unique=True))
def test_points_sort_by_pathway_layer_and_forward_order(points):
    keys = [(p.pathway, p.layer, BLOCK_SITES.index(p.site)) for p in sorted(points)]
    assert keys == sorted(keys)


@given(lengths)
def test_spans_laid_end_to_end_cover_their_total(lengths):
    spans = TokenSpans.of_lengths(lengths)
    assert set(spans) == {n for n, length in lengths.items() if length}
    assert sum(s.stop - s.start for s in spans.values()) == spans.n_tokens == sum(lengths.values())
    assert TokenSpans(spans.pairs()) == spans


@given(lengths)
def test_spans_match_globs_in_token_order(lengths):
    spans = TokenSpans.of_lengths(lengths)
    assert spans.match(["*"]) == list(spans)
    assert spans.match([]) == []


@pytest.mark.parametrize("pairs", [{"a": (0, 4), "b": (3, 5)}, {"a": (4, 2)}])
def test_overlapping_and_backward_spans_are_refused(pairs):
    with pytest.raises(ValueError, match="overlaps or runs backwards"):
        TokenSpans(pairs)


def test_an_unknown_span_lists_those_there_are():
    with pytest.raises(UnknownName, match="image"):
        TokenSpans({"image": (0, 4)})["state"]


def test_a_glob_that_matches_nothing_lists_what_exists():
    points = [HookPoint("vlm", layer, "resid_post") for layer in range(4)]
    with pytest.raises(UnknownName, match=r"vlm\.\{0\.\.3\}\.resid_post"):
        match_points("expert.*", points, "toy")


def test_globs_give_each_point_once_in_forward_order():
    points = [HookPoint("vlm", layer, "resid_post") for layer in (10, 2, 1)]
    found = match_points(["vlm.*", "vlm.2.*"], points, "toy")
    assert [p.layer for p in found] == [1, 2, 10]


def test_the_width_of_a_site():
    pathway = Pathway("vlm", 2, 8, ffn_width=32)
    assert (pathway.width_at("mlp_act"), pathway.width_at("resid_post")) == (32, 8)
    assert pathway.width_at("projector") is None


def test_the_width_of_blocks_that_differ_is_declared_where_they_end():
    tower = Pathway("vision", 3, 64, block_widths=(8, 16, 64))
    assert [tower.width_at("resid_post", layer) for layer in range(3)] == [8, 16, 64]
    assert tower.width_at("resid_pre", 1) is None
    assert tower.width_at("resid_post") is None
    assert tower.width_at("projector") is None


def test_neurons_have_a_width_where_they_are_declared():
    assert Pathway("vlm", 2, 8).width_at("mlp_act", 0) is None
    assert Pathway("vlm", 2, 8, ffn_width=32, block_widths=(4, 8)).width_at("mlp_act", 0) == 32


def test_some_rows_of_a_firing():
    moments = tuple(Moment(f"e{i}", 0, 0) for i in range(3))
    firing = Firing(HookPoint.parse("vlm.0.mlp_out"), 0, moments)
    assert [m.episode for m in firing.rows([2, 0]).moments] == ["e2", "e0"]


def test_spans_are_counted_among_kept_tokens():
    spans = TokenSpans.of_lengths({"image": 4, "instruction": 3, "state": 1})
    assert spans.among((4, 5, 6, 7)).pairs() == {"instruction": (0, 3), "state": (3, 4)}
    assert spans.among((0, 7)).pairs() == {"image": (0, 1), "state": (1, 2)}
    assert spans.among(tuple(range(8))) is spans
