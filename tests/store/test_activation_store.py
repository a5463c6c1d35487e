"""Activations come back at the coordinates they were recorded at, whatever happens to the disk."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from vlascope.errors import (
    ChecksumMismatch,
    CorruptFile,
    DiskFull,
    IncompatibleError,
    MisalignedActivations,
    UnknownName,
)
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.interventions import Inject, parse_intervention
from vlascope.interventions.sources import ActivationSource
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance, Where
from vlascope.store import durable as durable_module
from vlascope.store.index import rebuild_index
from vlascope.store.shard import Shard
from vlascope.store.verify import verify_store

POINT = HookPoint("expert", 0, "resid_post")
OTHER = HookPoint("vlm", 1, "mlp_out")
SPANS = TokenSpans({"image.top": (0, 2), "state": (2, 3)})
PROVENANCE = Provenance(
    adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*"), code_version="1"
)
FEW = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def entries_of(episode, *, steps=3, calls=2, dtype=torch.float32, width=4, offset=0.0):
    rows = []
    for k in range(steps):
        for call in range(calls):
            n = 3 * width
            value = torch.arange(n, dtype=torch.float32).reshape(3, width) + 100 * k + 10 * call
            moment = Moment(episode, 8 * k, k, call)
            rows.append(Entry(moment, (0, 1, 2), SPANS, (value + offset).to(dtype)))
    return rows


@pytest.fixture
def store(tmp_path):
    return ActivationStore.create(tmp_path / "acts", PROVENANCE)


def fill(store, n=4, **kwargs):
    for i in range(n):
        name = f"base/task{i % 2}/{i}"
        labels = {name: {"task": f"task{i % 2}", "seed": i, "success": i % 3 == 0}}
        rows = {POINT: entries_of(name, offset=1000.0 * i, **kwargs)}
        store.write(name, rows | {OTHER: entries_of(name, width=6)}, labels)
    return store


def test_what_was_written_is_looked_up_by_coordinate(store):
    fill(store)
    again = ActivationStore.open(store.path)
    for i, entry in enumerate(entries_of("base/task1/1", offset=1000.0)):
        found = again.lookup(POINT, entry.moment)
        assert torch.equal(found, entry.value), i
        assert again.spans_at(POINT, entry.moment).pairs() == SPANS.pairs()
    assert again.moments(POINT)[:2] == [
        Moment("base/task0/0", 0, 0, 0),
        Moment("base/task0/0", 0, 0, 1),
    ]
    assert again.points == [POINT, OTHER]
    assert isinstance(again, ActivationSource)


@pytest.mark.parametrize(
    "moment",
    [Moment("nobody", 0, 0), Moment("base/task0/0", 1, 0), Moment("base/task0/0", 0, 0, 9)],
)
def test_a_moment_that_was_not_recorded_is_none(store, moment):
    fill(store)
    assert store.lookup(POINT, moment) is None
    assert store.spans_at(POINT, moment) is None


def test_an_injection_reads_from_a_store_by_path(store):
    fill(store)
    edit = Inject(at=str(POINT), source=store)
    read_back = parse_intervention(edit.model_dump(mode="json"))
    assert read_back.model_dump_json() == edit.model_dump_json()
    moment = Moment("base/task0/0", 8, 1, 1)
    assert torch.equal(read_back.source.lookup(POINT, moment), store.lookup(POINT, moment))


def test_a_selection_of_tokens_counts_its_spans_among_the_kept_tokens(store):
    moment = Moment("e", 0, 0)
    store.write(
        "e",
        {
            POINT: [
                Entry(
                    moment, (2, 5), TokenSpans({"image": (0, 4), "state": (4, 6)}), torch.ones(2, 3)
                )
            ]
        },
    )
    assert store.spans_at(POINT, moment).pairs() == {"image": (0, 1), "state": (1, 2)}
    assert store.read(POINT).column("token").tolist() == [2, 5]


def test_filters_restrict_rows(store):
    fill(store)
    rows = store.read(POINT, Where(tasks="task1", calls=[1], steps=(8, 17), spans="image.*"))
    assert len(rows) == 2 * 2 * 2
    assert set(rows.episode_of()) == {"base/task1/1", "base/task1/3"}
    assert set(rows.span_of()) == {"image.top"}
    assert set(rows.column("step")) == {8, 16}
    assert set(rows.label("seed")) == {1, 3}
    assert rows.values[0].tolist() == [1110.0, 1111.0, 1112.0, 1113.0]
    assert len(store.read(POINT, Where(labels={"success": True}))) == 2 * 18
    assert len(store.read(POINT, Where(episodes="*/9"))) == 0
    assert list(store.episodes(Where(tasks=["task0"]))) == ["base/task0/0", "base/task0/2"]


def test_an_unknown_point_lists_what_there_is(store):
    fill(store)
    with pytest.raises(UnknownName, match=r"expert\.\{0\.\.0\}\.resid_post"):
        store.read("expert.7.resid_post")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_dtype_survives(store, dtype):
    store.write("e", {POINT: entries_of("e", dtype=dtype)})
    found = store.read(POINT).values
    assert found.dtype == dtype
    assert torch.equal(found, torch.cat([e.value for e in entries_of("e", dtype=dtype)]))


def test_a_unit_is_a_plain_safetensors_file_that_shares_equal_columns(store):
    path = store.write("e", {POINT: entries_of("e"), OTHER: entries_of("e", width=6)})
    tensors = load_file(path)
    assert set(tensors) == {str(POINT), str(OTHER), "columns.0"}
    assert tensors["columns.0"].shape == (18, 6)


@FEW
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    batch=st.integers(1, 40),
    buffer=st.integers(1, 60),
    block=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_every_row_comes_exactly_once_and_in_the_same_order(
    tmp_path_factory, sizes, batch, buffer, block, seed
):
    store = ActivationStore.create(tmp_path_factory.mktemp("s") / "a", PROVENANCE)
    for i, n in enumerate(sizes):
        rows = [
            Entry(Moment(f"e{i}", k, k), (0,), None, torch.tensor([[100.0 * i + k]]))
            for k in range(n)
        ]
        store.write(f"e{i}", {POINT: rows})
    if not any(sizes):
        return
    first, second = (
        [
            r.values.flatten().tolist()
            for r in store.batches(POINT, batch, seed=seed, buffer_rows=buffer, block_rows=block)
        ]
        for _ in range(2)
    )
    assert first == second
    everything = [v for b in first for v in b]
    assert sorted(everything) == sorted(
        100.0 * i + k for i, n in enumerate(sizes) for k in range(n)
    )
    assert all(len(b) == batch for b in first[:-1])


def test_another_seed_gives_another_order_and_columns_follow_their_rows(store):
    fill(store, 6)
    orders = [torch.cat([b.values[:, 0] for b in store.batches(POINT, 8, seed=s)]) for s in (0, 1)]
    assert not torch.equal(*orders)
    for batch in store.batches(POINT, 8, where=Where(calls=[0])):
        seeds = batch.label("seed").astype(float)
        expected = 1000 * seeds + 100 * batch.column("chunk") + 4 * batch.column("token")
        assert np.array_equal(batch.values[:, 0].numpy(), expected)


def test_memory_stays_bounded_by_the_units_kept_open(store):
    fill(store, 6)
    small = ActivationStore.open(store.path, open_units=2)
    assert len(small.read(POINT)) == 6 * 18
    assert len(small._open) == 2


@FEW
@given(data=st.data())
def test_a_truncated_or_altered_unit_is_one_clear_error(tmp_path_factory, data):
    store = fill(ActivationStore.create(tmp_path_factory.mktemp("s") / "a", PROVENANCE), 1)
    file = next((store.path / "units").glob("*.safetensors"))
    raw = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(raw[:8], "little")
    if data.draw(st.booleans(), label="truncate"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1), label="length")]
    else:
        raw[data.draw(st.integers(begin, len(raw) - 1), label="where")] ^= 0xFF
    file.write_bytes(raw)
    with pytest.raises(CorruptFile, match="--drop-broken") as caught:
        Shard(file).verify()
    assert str(file) in str(caught.value)


def test_a_foreign_file_is_refused_and_set_aside(store):
    fill(store)
    (store.path / "units" / "foreign.safetensors").write_bytes(
        b"\x10" + b"\0" * 7 + b'{"a": "not ours"'
    )
    with pytest.raises(CorruptFile, match=r"foreign\.safetensors"):
        ActivationStore.open(store.path).read(POINT)
    broken = list(verify_store(store.path, drop_broken=True))
    assert [b.path.name for b in broken] == ["foreign.safetensors"]
    assert len(ActivationStore.open(store.path).read(POINT)) == 4 * 18


def test_one_flipped_bit_of_data_is_found(store):
    path = store.write("e", {POINT: entries_of("e")})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ChecksumMismatch, match=str(POINT)):
        Shard(path).verify()


def test_a_store_of_something_else_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"schema": "someone else\'s"}')
    with pytest.raises(CorruptFile, match=r"store\.json"):
        ActivationStore.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="no activation store"):
        ActivationStore.open(tmp_path / "nothing")


def test_another_policys_activations_do_not_mix_in(store):
    other = PROVENANCE.model_copy(update={"checkpoint_hash": "1"})
    with pytest.raises(IncompatibleError, match="checkpoint_hash: '0' there, '1' now"):
        ActivationStore.create(store.path, other)


def test_more_hook_points_may_be_recorded_later_but_not_in_another_way(store):
    fill(store, 1)
    more = PROVENANCE.model_copy(update={"spec": RecordSpec(at="vlm.*"), "code_version": "2"})
    later = ActivationStore.create(store.path, more)
    later.write("late", {OTHER: entries_of("late", width=6)})
    assert [len(unit.points) for unit in later.units] == [2, 1]
    assert list(verify_store(store.path)) == []
    pooled = PROVENANCE.model_copy(update={"spec": RecordSpec(at="*", pool="mean")})
    with pytest.raises(IncompatibleError, match=r"spec\.pool: 'none' there, 'mean' now"):
        ActivationStore.create(store.path, pooled)


def test_writing_a_unit_again_replaces_it(store):
    fill(store, 2)
    store.write("base/task0/0", {POINT: entries_of("base/task0/0", offset=7.0)})
    assert store.lookup(POINT, Moment("base/task0/0", 0, 0)).flatten()[0] == 7.0
    assert len(store.units) == 2
    with pytest.raises(ValueError, match="already in"):
        store.write("elsewhere", {POINT: entries_of("base/task0/0")})


def test_a_reader_sees_what_a_writer_adds(store):
    reader = ActivationStore.open(store.path)
    assert "base/task0/0" not in reader
    fill(store, 1)
    assert "base/task0/0" in reader


def test_rows_of_two_widths_are_refused(store):
    rows = [*entries_of("e"), *entries_of("e", width=5)]
    with pytest.raises(MisalignedActivations, match="width"):
        store.write("e", {POINT: rows})


def test_the_parquet_index_lists_units_and_points(store):
    import pyarrow.parquet as pq

    fill(store)
    table = pq.read_table(rebuild_index(store)).to_pylist()
    assert len(table) == 8
    assert {row["rows"] for row in table} == {18}


def test_a_full_disk_loses_nothing_stored_before(store, monkeypatch):
    fill(store, 2)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable_module.os, "fsync", full)
    with pytest.raises(DiskFull, match="free some space"):
        store.write("new", {POINT: entries_of("new")})
    monkeypatch.undo()
    assert sorted(p.suffix for p in (store.path / "units").iterdir()) == [".safetensors"] * 2
    assert len(ActivationStore.open(store.path).read(POINT)) == 36


WRITER = """
import sys, torch
from vlascope.hooks import HookPoint, Moment
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
p = Provenance(
    adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*"), code_version="1"
)
s = ActivationStore.create(sys.argv[1], p)
print("ready", flush=True)
for i in range(10**6):
    value = torch.full((20000, 16), float(i))
    rows = [Entry(Moment(f"e{i}", 0, 0), tuple(range(20000)), None, value)]
    s.write(f"e{i}", {HookPoint("expert", 0, "resid_post"): rows})
    print(i, flush=True)
"""


@pytest.mark.slow
def test_what_was_written_before_a_kill_is_all_there(tmp_path):
    for delay in (0.05, 0.3, 0.7):
        path = tmp_path / str(delay)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "0\n"
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        done = len(process.stdout.read().split())
        process.stdout.close()
        process.wait()
        assert list(verify_store(path)) == []
        store = ActivationStore.open(path)
        assert len(store.units) >= 1 + done
        for i in range(1 + done):
            assert torch.all(store.lookup(POINT, Moment(f"e{i}", 0, 0)) == i)
        ActivationStore.create(path, PROVENANCE)
        assert not list(Path(path / "units").glob(".*"))
