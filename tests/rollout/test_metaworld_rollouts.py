"""A real simulator in worker processes: replayed to the bit, and survived when it is killed."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from vlascope.records import EpisodePlan
from vlascope.rollout import (
    BenchmarkSpec,
    EpisodeArrays,
    Film,
    open_environments,
    read_episodes,
    run_episodes,
)
from vlascope.rollout.arrays import read_strip

pytest.importorskip("metaworld")
pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(1800)]

METAWORLD = BenchmarkSpec(name="metaworld", options={"size": 32})
TASKS = ("faucet-open", "multi/open-drawer")


def plans(arm):
    return [
        EpisodePlan(arm=arm, task=task, seed=seed, max_steps=30)
        for task in TASKS
        for seed in (0, 1)
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_episodes_replay_to_the_bit_and_a_killed_simulator_is_an_error(trick_world, tmp_path):
    from trick_world import drifter

    film = Film(frames=3, only=frozenset({(TASKS[0], 0)}))
    with open_environments(
        METAWORLD, tmp_path / "logs", workers=1, envs_per_worker=2, start_timeout=900, timeout=600
    ) as environments:
        policy = drifter(environments.info)
        options = {"environments": environments, "progress": False}
        first = run_episodes(policy, METAWORLD, plans("a"), tmp_path, batch=1, film=film, **options)
        again = run_episodes(policy, METAWORLD, plans("b"), tmp_path, **options)
        for left, right in zip(first, again, strict=True):
            assert left.status == right.status == "ok"
            a, b = (EpisodeArrays.load(tmp_path, r) for r in (left, right))
            assert set(a) == set(b)
            assert "end_effector" in a
            assert len(a.objects) > 0
            assert all(np.array_equal(a[name], b[name]) for name in a)
        assert {"metaworld", "mujoco"} <= first[0].versions.keys()
        assert read_strip(tmp_path, first[0]).images.shape == (3, 32, 32, 3)
        assert "multi/open-drawer" not in first[2].predicates

        done = len(read_episodes(tmp_path))

        def kill_once_playing():
            while len(read_episodes(tmp_path)) == done:
                time.sleep(0.01)
            os.kill(environments.pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_once_playing)
        killer.start()
        killed = run_episodes(policy, METAWORLD, plans("c"), tmp_path, **options)
        killer.join()
        errors = [r for r in killed if r.status == "error"]
        assert len(errors) <= 1
        assert all("SIGKILL" in r.error for r in errors)
        final = run_episodes(policy, METAWORLD, plans("c"), tmp_path, **options)
        assert [r.status for r in final] == ["ok"] * 4
    assert len(read_episodes(tmp_path)) == 12
