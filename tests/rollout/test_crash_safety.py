"""Whatever is killed, full or torn, nothing finished is lost and nothing is played twice."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from vlascope.errors import CorruptFile, DiskFull, RunLocked
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, read_episodes, run_episodes
from vlascope.rollout.lock import exclusive
from vlascope.rollout.messages import Setup
from vlascope.rollout.pool import EnvPool
from vlascope.store import ActivationStore
from vlascope.store import durable as durable_module
from vlascope.store.durable import append_line, cut_torn_line
from vlascope.store.verify import verify_store

TRICK = BenchmarkSpec(name="trick")
PLUGIN = str(Path(__file__).parent / "plugin")
EPISODES = 16

RUN = f"""
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {PLUGIN!r})
from trick_world import walker
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
plans = [
    EpisodePlan(arm="base", task="naps", seed=s, stop_on_success=False) for s in range({EPISODES})
]
records = run_episodes(
    walker(), BenchmarkSpec(name="trick"), plans, sys.argv[1], workers=2, envs_per_worker=1,
    record=RecordSpec(at="*"), progress=False,
)
print(sum(r.status == "ok" for r in records))
"""


@pytest.fixture
def walker(trick_world):
    from trick_world import walker

    return walker()


def plans(n):
    return [EpisodePlan(arm="base", task="walk", seed=s) for s in range(n)]


def run(adapter, n, folder, **kwargs):
    return run_episodes(adapter, TRICK, plans(n), folder, workers=1, progress=False, **kwargs)


def lines(folder):
    path = folder / "episodes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def children_of(pid):
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in text and "State:\tZ" not in text:
            found.append(int(status.parent.name))
    return found


def gone(pid):
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait_for(condition, process=None, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_killed_at_random_moments_a_run_completes_without_loss_or_repetition(tmp_path):
    rng = random.Random(0)
    for target, whom in ((1, "main"), (4, "worker"), (8, "main")):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE
        )
        wait_for(lambda at=target: lines(tmp_path) >= at, process)
        time.sleep(rng.uniform(0, 0.05))
        workers = children_of(process.pid)
        if whom == "worker":
            os.kill(rng.choice(workers), signal.SIGKILL)
            wait_for(lambda: lines(tmp_path) >= 6, process)
            workers = children_of(process.pid)
        before = lines(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda pids=workers: all(gone(p) for p in pids), seconds=30)
        assert all(gone(p) for p in workers), "orphaned workers"
        assert lines(tmp_path) >= before
    final = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert final.stdout.strip() == str(EPISODES)
    written = [json.loads(x) for x in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    times = Counter(r["plan"]["seed"] for r in written if r["status"] == "ok")
    assert times == dict.fromkeys(range(EPISODES), 1)
    assert sum(r["status"] == "error" for r in written) <= 1
    assert list(verify_store(tmp_path / "activations")) == []
    store = ActivationStore.open(tmp_path / "activations")
    assert set(store.episodes()) == {
        r["plan"]["arm"] + f"/naps/{r['plan']['seed']}" for r in written
    }


def test_a_torn_last_line_is_cut_and_its_episode_played_again(walker, tmp_path, caplog):
    first = run(walker, 3, tmp_path)
    path = tmp_path / "episodes.jsonl"
    raw = path.read_bytes()
    path.write_bytes(raw[:-40])
    assert len(read_episodes(tmp_path)) == 2
    again = run(walker, 3, tmp_path)
    assert "interrupted write" in caplog.text
    assert [r.digest for r in again] == [r.digest for r in first]
    assert len(read_episodes(tmp_path)) == 3


@pytest.mark.parametrize("line", [b"{}", b"not json", b'{"schema_version": "vlascope.episode/9"}'])
def test_a_foreign_line_names_the_file_the_line_and_the_fix(walker, tmp_path, line):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(CorruptFile, match=r"episodes\.jsonl, line 1 .*delete that line"):
        read_episodes(tmp_path)
    with pytest.raises(CorruptFile, match="line 1"):
        run(walker, 1, tmp_path)


def test_two_runs_do_not_write_one_directory(walker, tmp_path):
    with exclusive(tmp_path), pytest.raises(RunLocked, match=f"process {os.getpid()} on "):
        run(walker, 1, tmp_path)


def test_a_dead_processs_lock_is_taken_over(tmp_path):
    code = (
        "import os, sys; from vlascope.rollout.lock import exclusive; from pathlib import Path\n"
        "with exclusive(Path(sys.argv[1])): print(1, flush=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert json.loads((tmp_path / ".lock").read_text())["pid"] != os.getpid()
    with exclusive(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("nth", [1, 4, 6])
def test_a_full_disk_stops_the_run_and_loses_nothing_finished(walker, tmp_path, monkeypatch, nth):
    real, calls = os.fsync, Counter()

    def full(descriptor):
        calls["n"] += 1
        if calls["n"] >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    spec = RecordSpec(at="*")
    run(walker, 1, tmp_path, record=spec)
    monkeypatch.setattr(durable_module.os, "fsync", full)
    with pytest.raises(DiskFull, match="intact"):
        run(walker, 4, tmp_path, record=spec)
    monkeypatch.undo()
    kept = read_episodes(tmp_path)
    assert [r.status for r in kept] == ["ok"] * len(kept)
    records = run(walker, 4, tmp_path, record=spec)
    assert [r.plan.seed for r in records] == [0, 1, 2, 3]
    assert lines(tmp_path) == 4
    assert not list(tmp_path.rglob("*.partial"))


def test_an_append_that_fails_half_way_is_cut_back(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    append_line(path, "first")
    real = os.write

    def half(descriptor, raw):
        if len(raw) > 3:
            return real(descriptor, raw[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable_module.os, "write", half)
    with pytest.raises(DiskFull):
        append_line(path, "second")
    monkeypatch.undo()
    assert path.read_text() == "first\n"
    path.write_text("first\nsec")
    assert cut_torn_line(path) == 3
    assert path.read_text() == "first\n"


def test_workers_exit_when_their_parent_lets_go(trick_world, tmp_path):
    setup = Setup("trick", {})
    with EnvPool(
        setup, workers=1, per_worker=1, timeout=60, start_timeout=240, logs=tmp_path
    ) as pool:
        assert pool.info.name == "trick"
        (pid,) = pool.pids
    assert gone(pid)
