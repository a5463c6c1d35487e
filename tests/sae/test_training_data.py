"""Training rows: every one once per epoch, whole episodes held out, and entered anywhere."""

import itertools
import threading
from contextlib import closing
from pathlib import Path

import pytest
import torch

from vlascope.errors import (
    IncompatibleError,
    MisalignedActivations,
    UnknownName,
    UnusableActivations,
)
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
from vlascope_sae.training import DatasetSpec, IteratorSource, StoreSource, TensorSource, sources_of
from vlascope_sae.training.dataset import held_out
from vlascope_sae.training.prefetching import prefetched
from vlascope_sae.training.source import Taken, median_norm, without_outliers

POINT = HookPoint("expert", 0, "resid_post")
OTHER = HookPoint("expert", 1, "resid_post")
LONE = HookPoint("vlm", 0, "mlp_out")
SPANS = TokenSpans({"image.top": (0, 2), "state": (2, 3)})
CALLS, TOKENS, EPISODES, STEPS = 2, 3, 10, 4
PER_EPISODE = CALLS * TOKENS * STEPS


def coded(e, k, call):
    """Rows that say where they are from: (episode, step, call, token)."""
    return torch.tensor([[e, k, call, token] for token in range(TOKENS)], dtype=torch.float32)


@pytest.fixture
def store(tmp_path):
    provenance = Provenance(
        adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*")
    )
    store = ActivationStore.create(tmp_path / "acts", provenance)
    for e in range(EPISODES):
        name = f"base/[x]/{e}"
        moments = [(k, call) for k in range(STEPS) for call in range(CALLS)]
        rows = {
            point: [
                Entry(Moment(name, 8 * k, k, call), (0, 1, 2), SPANS, sign * coded(e, k, call))
                for k, call in moments
            ]
            for point, sign in ((POINT, 1), (OTHER, -1))
        }
        rows[LONE] = [Entry(Moment(name, 0, 0, 0), (0, 1, 2), SPANS, coded(e, 0, 0))]
        store.write(name, rows, {name: {"task": f"t{e % 2}", "seed": e}})
    return store


def drawn(source, rows, batch=7, start=0):
    """The first `rows` rows of the training stream."""
    with closing(source.stream(batch, drawn=start)) as stream:
        taken = list(itertools.islice(stream, -(-rows // batch)))
    return torch.cat([t.x for t in taken])[:rows]


def small(store, spec=None, **kwargs):
    spec = spec or DatasetSpec(validation=0.2)
    return StoreSource(store, POINT, spec, buffer_rows=32, block_rows=8, **kwargs)


def test_an_epoch_has_every_training_row_once_in_another_order_each_time(store):
    source = small(store)
    assert source.training_rows == 8 * PER_EPISODE
    rows = drawn(source, 2 * source.training_rows)
    first, second = rows.split(source.training_rows)
    assert len({tuple(r) for r in first.tolist()}) == source.training_rows
    assert {tuple(r) for r in first.tolist()} == {tuple(r) for r in second.tolist()}
    assert not torch.equal(first, second)
    assert torch.equal(drawn(small(store), 100), rows[:100])
    assert not torch.equal(drawn(small(store, seed=1), 100), rows[:100])


def test_whole_episodes_are_held_out_and_all_their_rows_validated_on(store):
    source = small(store)
    trained = set(drawn(source, source.training_rows)[:, 0].tolist())
    held = torch.cat([t.x for t in source.validation(5)])
    assert len(source.validation_episodes) == 2
    assert len(held) == source.held_out_rows == 2 * PER_EPISODE
    assert trained.isdisjoint(held[:, 0].tolist())
    assert len(trained) == 8
    some = torch.cat([t.x for t in source.validation(5, limit=10)])
    assert len(some) == 10
    assert set(some[:, 0].tolist()) == set(held[:, 0].tolist())


def test_the_split_does_not_depend_on_the_order_of_recording_and_is_never_empty():
    names = [f"e{i}" for i in range(40)]
    held = held_out(names, 0.25)
    assert len(held) == 10
    assert held == held_out(reversed(names), 0.25)
    assert held != held_out(names, 0.25, seed=1)
    assert len(held & held_out(names[:-1], 0.25)) >= 9
    assert len(held_out(names[:2], 0.9)) == 1
    with pytest.raises(ValueError, match="at least 2"):
        held_out(["e"], 0.1)


@pytest.mark.parametrize("start", [0, 1, 31, 32, 33, 100, 192, 200, 1000])
def test_the_stream_can_be_entered_anywhere(store, start):
    source = small(store)
    tensors = TensorSource(torch.arange(50.0)[:, None].repeat(1, 2))
    parts = [torch.arange(6.0).view(3, 2), torch.arange(4.0).view(2, 2) + 10]
    iterator = IteratorSource(lambda: parts)
    for each in (source, tensors, iterator):
        assert torch.equal(drawn(each, start + 50)[start:], drawn(each, 50, start=start))


@pytest.mark.parametrize("pool", ["mean", "last", "max"])
def test_pooling_makes_one_sample_of_the_wanted_tokens_of_a_firing(store, pool):
    spec = DatasetSpec(validation=0.2, pool=pool, spans=("image.*",), calls=(1,))
    source = small(store, spec)
    assert source.training_rows == 8 * STEPS
    rows = drawn(source, source.training_rows)
    assert set(rows[:, 2].tolist()) == {1.0}
    assert set(rows[:, 3].tolist()) == {0.5 if pool == "mean" else 1.0}
    assert len({tuple(r) for r in rows[:, :2].tolist()}) == len(rows)


def test_rows_are_chosen_by_span_call_and_task(store):
    spec = DatasetSpec(validation=0.2, spans="state", calls=0, tasks="t1")
    rows = drawn(small(store, spec), 4 * STEPS)
    assert set(rows[:, 3].tolist()) == {2.0}
    assert set(rows[:, 2].tolist()) == {0.0}
    assert set((rows[:, 0] % 2).tolist()) == {1.0}


def test_a_transcoder_gets_the_same_tokens_of_both_sites(store):
    source = StoreSource(store, POINT, target=OTHER)
    assert source.target_width == 4
    with closing(source.stream(16)) as stream:
        taken = next(stream)
    assert torch.equal(taken.target, -taken.x)
    with pytest.raises(MisalignedActivations, match="same moments"):
        StoreSource(store, POINT, target=LONE)


@pytest.mark.parametrize("pool", ["none", "mean"])
def test_pairs_are_the_same_token_and_call_at_adjacent_times(store, pool):
    spec = DatasetSpec(validation=0.2, pool=pool)
    source = small(store, spec, pairs=True)
    tokens = TOKENS if pool == "none" else 1
    assert source.training_rows == 8 * CALLS * tokens * (STEPS - 1)
    pairs = drawn(source, source.training_rows)
    later = pairs[:, 1] - pairs[:, 0]
    assert torch.equal(later, torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(later))
    assert source.held_out_rows == 2 * CALLS * tokens * STEPS
    assert source.sample(10).x.shape == (10, 4)


def test_globs_name_several_points_and_an_unknown_one_lists_what_there_is(store):
    assert [s.name for s in sources_of(store, "expert.*.resid_post")] == [str(POINT), str(OTHER)]
    with pytest.raises(UnknownName, match=r"expert\.\{0\.\.1\}\.resid_post"):
        sources_of(store, "expert.7.resid_post")
    with pytest.raises(IncompatibleError, match="no episode"):
        StoreSource(store, POINT, DatasetSpec(tasks="nowhere"))
    with pytest.raises(IncompatibleError, match="no row"):
        StoreSource(store, POINT, DatasetSpec(spans="nowhere"))


def test_outliers_are_dropped_and_counted_and_the_callers_rows_are_left_as_they_are():
    x = torch.ones(100, 4) + 0.01 * torch.randn(100, 4)
    x[7] *= 1000
    before = x.clone()
    limit = 10 * median_norm(x, "here")
    batch = without_outliers(Taken(x, x), limit, "here")
    assert (batch.drawn, batch.dropped, len(batch.x), len(batch.target)) == (100, 1, 99, 99)
    assert float(batch.x.norm(dim=1).max()) < limit
    assert torch.equal(x, before)
    assert without_outliers(Taken(x), None, "here").dropped == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_with_the_name_of_the_place(bad):
    x = torch.randn(10, 4)
    x[3, 1] = bad
    with pytest.raises(UnusableActivations, match="here: 1 of 10 rows"):
        without_outliers(Taken(x), None, "here")
    with pytest.raises(UnusableActivations, match="all 10 rows"):
        median_norm(torch.ones(10, 4), "here")


def test_a_tensor_is_split_by_the_episodes_of_its_rows():
    x = torch.arange(60.0)[:, None]
    names = [f"e{i // 6}" for i in range(60)]
    source = TensorSource(x, episodes=names, validation=0.3)
    held = torch.cat([t.x for t in source.validation(4)])[:, 0]
    assert len(held) == 18
    assert {int(v) // 6 for v in held}.isdisjoint(int(v) // 6 for v in drawn(source, 42)[:, 0])


def test_prefetching_keeps_the_order_passes_errors_on_and_ends_its_thread():
    assert list(prefetched(range(50), ahead=3)) == list(range(50))

    def broken():
        yield 1
        raise RuntimeError("torn")

    items = prefetched(broken())
    assert next(items) == 1
    with pytest.raises(RuntimeError, match="torn"):
        next(items)
    before = threading.active_count()
    endless = prefetched(itertools.count())
    next(endless)
    endless.close()
    assert threading.active_count() == before


def test_a_store_is_read_in_bounded_memory(tmp_path):
    """240 MB of activations; buffers hold 3 x 8 MB."""
    provenance = Provenance(
        adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*")
    )
    store = ActivationStore.create(tmp_path / "acts", provenance)
    tokens = 60_000
    value = torch.randn(tokens, 256)
    for e in range(4):
        entry = Entry(Moment(f"e{e}", 0, 0, 0), tuple(range(tokens)), None, value)
        store.write(f"e{e}", {POINT: [entry]})
    source = StoreSource(store, POINT, DatasetSpec(validation=0.25), buffer_rows=8192)
    anonymous = []
    with closing(source.stream(4096)) as stream:
        for taken in itertools.islice(stream, 44):
            assert len(taken) == 4096
            anonymous.append(_anonymous_memory())
    assert max(anonymous) - anonymous[1] < 120e6


def _anonymous_memory():
    """Bytes of this process's own; pages of mapped files can be given back at any time."""
    with Path("/proc/self/status").open() as status:
        found = next(line for line in status if line.startswith("RssAnon"))
    return 1024 * int(found.split()[1])
