"""The `vlascope store` command and the estimate that comes before a recording."""

import json

import pytest
import torch
from typer.testing import CliRunner

from vlascope.cli.store import app
from vlascope.errors import UnknownName
from vlascope.hooks import HookPoint, Moment
from vlascope.plugins import adapter_class
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
from vlascope.store.estimate import estimate_recording

POINT = HookPoint("vlm", 0, "resid_post")


@pytest.fixture
def store(tmp_path):
    provenance = Provenance(
        adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*")
    )
    store = ActivationStore.create(tmp_path / "acts", provenance)
    for i in range(2):
        rows = [Entry(Moment(f"e{i}", 0, 0), (0, 1), None, torch.ones(2, 4))]
        store.write(f"e{i}", {POINT: rows}, {f"e{i}": {"task": "t"}})
    return store


def vlascope_store(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_info_says_what_a_store_holds(store):
    shown = vlascope_store("info", store.path)
    assert shown.exit_code == 0, shown.output
    assert "2 episodes in 2 units" in shown.output
    assert "vlm.0.resid_post  4 rows of float32 x 4" in shown.output
    found = json.loads(vlascope_store("info", store.path, "--json").output)
    assert found["rows"] == {"vlm.0.resid_post": 4}
    assert found["tasks"] == ["t"]


def test_verify_finds_a_broken_unit_and_sets_it_aside(store):
    assert vlascope_store("verify", store.path).exit_code == 0
    broken = sorted((store.path / "units").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:-1])
    shown = vlascope_store("verify", store.path)
    assert shown.exit_code == 1
    assert broken.name in shown.output
    assert broken.exists()
    assert vlascope_store("verify", store.path, "--drop-broken").exit_code == 1
    assert vlascope_store("verify", store.path).exit_code == 0
    assert len(ActivationStore.open(store.path).units) == 1


def test_index_writes_parquet(store):
    assert vlascope_store("index", store.path).exit_code == 0
    assert (store.path / "index.parquet").exists()


def test_an_estimate_counts_the_bytes_that_are_then_written(tmp_path):
    policy = adapter_class("toy").tiny()
    spec = RecordSpec(at=("vlm.*.resid_post", "expert.*.resid_post"), dtype="float16")
    expected = estimate_recording(policy, spec, episodes=3, steps=policy.info.executed_steps * 2)
    assert expected.chunks == 6
    assert expected.policy_hours > 0
    with policy.record(spec) as cache:
        policy.infer([policy.example_observation()])
    size = sum(v.numel() * 2 + len(v) * 24 for p in cache for c in cache[p] for v in c.rows)
    assert sum(expected.bytes_per_chunk.values()) == size
    assert expected.gigabytes == pytest.approx(6 * size / 1e9)
    assert "GB in" in str(expected)


def test_an_estimate_of_nothing_lists_what_exists():
    policy = adapter_class("toy").tiny()
    with pytest.raises(UnknownName, match="it has"):
        estimate_recording(policy, RecordSpec(at="nowhere.*"), episodes=1, steps=1)
