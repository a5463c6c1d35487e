"""An index says what the features did, in bounded memory and however the pass is cut."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlascope.errors import (
    AlreadyThere,
    CorruptFile,
    FileMissing,
    MisalignedActivations,
    UnknownName,
)
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance, Where
from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder
from vlascope_sae.features import FeatureIndex, build_index, co_activation, nearest_by_cosine
from vlascope_sae.features.blocks import read_units
from vlascope_sae.features.ranking import Strongest

POINT = HookPoint("expert", 0, "resid_post")
PROVENANCE = Provenance(
    adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*"), code_version="1"
)
SPANS = TokenSpans({"image.top": (0, 1), "state": (1, 2)})


class Positive(SparseAutoencoder):
    """Feature i is dimension i where that is positive: every statistic is known by hand."""

    def encode_normalised(self, n):
        return n.clamp_min(0)

    def step(self, x, target, *, dead, progress):
        raise NotImplementedError


def positive(d=4):
    return Positive(SAEConfig(architecture="positive", d_in=d, d_sae=d))


def write(store, episode, rows, *, task="reach", calls=1, spans=SPANS):
    """`rows`: (chunks * calls, tokens, width), eight environment steps a chunk."""
    values = torch.tensor(rows, dtype=torch.float32)
    tokens = tuple(range(values.shape[1]))
    entries = [
        Entry(Moment(episode, 8 * (i // calls), i // calls, i % calls), tokens, spans, value)
        for i, value in enumerate(values)
    ]
    store.write(episode, {POINT: entries}, {episode: {"task": task}})


@pytest.fixture
def store(tmp_path):
    """Two episodes: feature 0 fires in both, 1 in the second only, 2 always, 3 never."""
    store = ActivationStore.create(tmp_path / "acts", PROVENANCE)
    first = [[[0, 0, 1, -1]] * 2, [[2, 0, 1, -1], [5, 0, 1, -1]], [[0.05, 0, 1, -1]] * 2]
    second = [[[0, 3, 1, -1], [0, 0, 1, -1]], [[0, 0, 1, -1]] * 2, [[4, 0, 1, -1]] * 2]
    write(store, "base/reach/0", first)
    write(store, "base/push/0", second, task="push")
    return store


@pytest.fixture
def index(store, tmp_path):
    return FeatureIndex.open(build_index(positive(), store, POINT, tmp_path / "index", top_k=3))


def random_store(folder, seed=0, episodes=5, width=6, tokens=3, calls=2):
    rng = np.random.default_rng(seed)
    store = ActivationStore.create(folder, PROVENANCE)
    for i in range(episodes):
        shape = (calls * int(rng.integers(2, 9)), tokens, width)
        values = np.maximum(rng.normal(size=shape) - 0.5, 0).round(1)
        write(store, f"base/t/{i}", values, task=f"t{i % 2}", calls=calls, spans=None)
    return store


def test_rates_maxima_and_means_are_those_counted_by_hand(index):
    assert index.column("fired").tolist() == [6, 1, 12, 0]
    assert index.column("firing_rate").tolist() == [0.5, 1 / 12, 1.0, 0.0]
    assert index.column("max").tolist() == [5, 3, 1, 0]
    np.testing.assert_allclose(index.column("mean_on"), [15.1 / 6, 3, 1, 0], rtol=1e-7)
    assert index.alive.tolist() == [True, True, True, False]
    about = index.manifest
    assert (about.rows, about.moments, about.instants, about.episodes) == (12, 6, 6, 2)
    assert about.dead == 1
    assert sum(about.density["counts"]) == 3


def test_coverage_onsets_magnitude_and_run_length_are_those_counted_by_hand(index):
    found = index.temporal
    assert found.coverage.tolist() == [1.0, 0.5, 1.0, 0.0]
    assert found.onsets.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert found.magnitude.tolist() == [4.5, 3.0, 1.0, 0.0]
    # Feature 0 stays on at 0.05 after 5 (2 of 3 instants), and comes on at the end of the second.
    np.testing.assert_allclose(found.run_length, [(2 / 3 + 1 / 3) / 2, 1 / 3, 1.0, 0.0])


def test_the_strongest_moments_come_first_with_their_strongest_token(index):
    top = index.top(0)
    assert [(m.value, m.moment.episode, m.moment.step, m.token, m.span) for m in top] == [
        (5.0, "base/reach/0", 8, 1, "state"),
        (4.0, "base/push/0", 16, 0, "image.top"),
        (pytest.approx(0.05), "base/reach/0", 16, 0, "image.top"),
    ]
    assert index.top(3) == []


def test_a_trace_holds_the_largest_value_of_every_instant(index):
    first, second = sorted(index.traces(0), key=lambda t: t.episode.task, reverse=True)
    assert first.episode.task == "reach"
    assert first.values.tolist() == pytest.approx([0, 5, 0.05])
    assert first.steps.tolist() == [0, 8, 16]
    assert second.values.tolist() == [0, 0, 4]


def test_profiles_say_what_it_does_in_each_task_and_each_third(index):
    tasks = {g.name: g for g in index.by_task(0)}
    assert tasks["reach"].firing_rate == 4 / 6
    assert tasks["push"].firing_rate == 2 / 6
    assert tasks["reach"].max == 5
    assert tasks["push"].mean == 8 / 6
    assert [g.firing_rate for g in index.by_phase(0)] == [0, 0.5, 1]
    assert [g.rows for g in index.by_phase(0)] == [4, 4, 4]


def test_a_histogram_counts_values_by_power_of_two(index):
    counted = {i - 10: n for i, n in enumerate(index.histogram(0)) if n}
    assert counted == {-5: 2, 1: 1, 2: 3}


def test_spans_and_calls_restrict_what_is_read(store, tmp_path):
    out = build_index(positive(), store, POINT, tmp_path / "s", where=Where(spans="image.*"))
    found = FeatureIndex.open(out)
    assert found.manifest.rows == 6
    assert found.column("max").tolist() == [4, 3, 1, 0]
    assert found.manifest.where["spans"] == ["image.*"]


@pytest.mark.parametrize(("pool", "largest"), [("mean", 4.0), ("max", 5.0), ("last", 5.0)])
def test_tokens_of_a_moment_can_be_put_together_first(store, tmp_path, pool, largest):
    found = FeatureIndex.open(build_index(positive(), store, POINT, tmp_path / "p", pool=pool))
    assert found.manifest.rows == found.manifest.moments == 6
    assert found.column("max")[0] == largest
    assert {(m.token, m.span) for m in found.top(0)} == {(-1, None)}


def everything(path):
    """All that an index holds, to be compared."""
    index = FeatureIndex.open(path)
    names = ("fired", "max", "mean_on", "coverage", "onsets", "magnitude", "run_length")
    return [
        [index.column(n).tolist() for n in names],
        [index.top(f) for f in range(index.manifest.features)],
        [[t.values.tolist() for t in index.traces(f)] for f in range(index.manifest.features)],
        [index.by_task(f) + index.by_phase(f) for f in range(index.manifest.features)],
    ]


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_streaming_in_small_blocks_gives_what_one_block_gives(tmp_path, rows):
    store = random_store(tmp_path / "acts")
    whole = build_index(positive(6), store, POINT, tmp_path / "whole", block_rows=10**6)
    cut = build_index(positive(6), store, POINT, tmp_path / "cut", block_rows=rows)
    flat = [np.hstack(list(_numbers(everything(p)))) for p in (whole, cut)]
    np.testing.assert_allclose(*flat, rtol=1e-12)
    assert [m.moment for m in FeatureIndex.open(whole).top(2)] == [
        m.moment for m in FeatureIndex.open(cut).top(2)
    ]


def _numbers(found):
    if isinstance(found, (list, tuple)):
        for part in found:
            yield from _numbers(part)
    elif isinstance(found, (int, float)):
        yield [float(found)]


def test_everything_agrees_with_all_rows_read_at_once(tmp_path):
    store = random_store(tmp_path / "acts", calls=3)
    index = FeatureIndex.open(build_index(positive(6), store, POINT, tmp_path / "i", block_rows=8))
    rows = store.read(POINT)
    z = rows.values.clamp_min(0).numpy()
    assert index.column("fired").tolist() == (z > 0).sum(0).tolist()
    np.testing.assert_allclose(index.column("mean_on"), z.sum(0) / (z > 0).sum(0), rtol=1e-6)
    for trace in index.traces(3):
        own = rows.episode_of() == trace.episode.name
        chunks = rows.column("chunk")[own]
        assert trace.chunks.tolist() == sorted(set(chunks))
        assert trace.values.tolist() == [z[own][chunks == c, 3].max() for c in trace.chunks]


def test_episodes_that_were_recorded_side_by_side_are_kept_apart(tmp_path):
    apart = ActivationStore.create(tmp_path / "apart", PROVENANCE)
    values = {name: np.random.default_rng(i).random((5, 2, 4)) for i, name in enumerate("ab")}
    for name, rows in values.items():
        write(apart, name, rows, task=name)
    together = ActivationStore.create(tmp_path / "together", PROVENANCE)
    entries = [
        Entry(Moment(name, 8 * k, k), (0, 1), SPANS, torch.tensor(rows[k], dtype=torch.float32))
        for k in range(5)
        for name, rows in values.items()
    ]
    together.write("both", {POINT: entries}, {name: {"task": name} for name in values})
    one, other = (
        everything(build_index(positive(), s, POINT, s.path / "index", block_rows=6))
        for s in (apart, together)
    )
    np.testing.assert_allclose(*(np.hstack(list(_numbers(x))) for x in (one, other)), rtol=1e-12)


def test_a_block_never_holds_more_rows_than_asked_and_never_cuts_a_moment(tmp_path):
    store = random_store(tmp_path / "acts", tokens=4)
    for unit in read_units(store, str(POINT), Where()):
        blocks = list(unit.blocks(10))
        assert all(len(b.values) <= 10 and set(b.lengths) == {4} for b in blocks)
        assert sum(len(b.starts) for b in blocks) == len(unit.moments)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    k=st.integers(1, 5),
    cut=st.integers(1, 9),
)
def test_the_strongest_of_a_stream_are_those_of_the_whole_however_it_is_cut(values, k, cut):
    stream = torch.tensor(values, dtype=torch.float32)[:, None]
    kept = Strongest(1, k, 1)
    for start in range(0, len(stream), cut):
        part = stream[start : start + cut]
        places = torch.arange(start, start + len(part))[:, None]
        kept.add(part, torch.arange(len(part))[:, None], places)
    found, where = kept.result()
    ranked = sorted((-v, i) for i, v in enumerate(values) if v > 0)[:k]
    assert found[0].tolist() == [-v for v, _ in ranked] + [0] * (k - len(ranked))
    assert where[0, :, 0].tolist() == [i for _, i in ranked] + [-1] * (k - len(ranked))


def test_what_fires_together_is_counted_by_instant(index):
    found = co_activation(index, [0, 1])
    assert found.together.tolist() == [[3, 0, 3, 0], [0, 1, 1, 0]]
    assert found.instants == 6
    assert found.nearest(0) == [(2, pytest.approx(3 / (3 * 6) ** 0.5))]
    assert [n.feature for n in found.nearest(1)] == [2]


def test_features_that_point_the_same_way_are_near():
    sae = positive(3)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [3, 4, 0]]))
    near = nearest_by_cosine(sae, 2)
    assert [n.feature for n in near] == [1, 0]
    assert [n.similarity for n in near] == pytest.approx([0.8, 0.6])


def test_an_index_appears_whole_or_not_at_all(store, tmp_path):
    write(store, "base/bad/0", [[[float("nan")] * 4] * 2])
    with pytest.raises(MisalignedActivations, match="8 stored numbers are not finite"):
        build_index(positive(), store, POINT, tmp_path / "out" / "index")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_pass_left_behind_is_swept_by_the_next(store, tmp_path):
    left = tmp_path / ".again.99999999.partial"
    (left / "traces").mkdir(parents=True)
    build_index(positive(), store, POINT, tmp_path / "again")
    assert not left.exists()
    assert not list(tmp_path.glob(".*.partial"))


def test_what_cannot_be_indexed_says_why(store, index, tmp_path):
    with pytest.raises(AlreadyThere, match="is there already"):
        build_index(positive(), store, POINT, index.path)
    with pytest.raises(MisalignedActivations, match="width 5, but the store's have 4"):
        build_index(positive(5), store, POINT, tmp_path / "a")
    with pytest.raises(UnknownName, match=r"expert\.\{0\.\.0\}\.resid_post"):
        build_index(positive(), store, "vlm.0.resid_post", tmp_path / "b")
    with pytest.raises(FileMissing, match="holds no row"):
        build_index(positive(), store, POINT, tmp_path / "c", where=Where(tasks="dance"))


def test_something_else_is_no_index(index, tmp_path):
    with pytest.raises(FileMissing, match=r"has no index\.json"):
        FeatureIndex.open(tmp_path)
    about = index.path / "index.json"
    older = json.loads(about.read_text()) | {"schema_version": "vlascope.features/0"}
    about.write_text(json.dumps(older))
    with pytest.raises(CorruptFile, match=r"'vlascope.features/0' and not vlascope.features/1"):
        FeatureIndex.open(index.path)


def test_a_feature_or_a_column_that_is_not_there_is_an_error(index):
    with pytest.raises(UnknownName, match=r"no feature 4 .*it has 0 to 3"):
        index.top(4)
    with pytest.raises(UnknownName, match="firing_rate"):
        index.column("rate")
