"""A comparison says the same, whoever played it."""

from __future__ import annotations

import pytest

from vlascope.comparison import ComparisonFile, read_comparison
from vlascope.comparison.running import prepare, run_comparison
from vlascope.rollout import read_episodes
from vlascope.rollout.log import read_log

pytestmark = pytest.mark.slow

ENTRIES = ("sound", "noisy")
OF_THIS_PLAY = {"seconds", "largest_batch"}
"""Fields of a record that say how it was played, and not what happened."""

FILE = ComparisonFile.model_validate(
    {
        "name": "small",
        "defaults": {
            "benchmark": {"name": "toy"},
            "tasks": ["shared/red", "shared/green"],
            "seeds": "0-1",
            "max_steps": 6,
            "batch": "exact",
            "workers": 1,
            "executor": {"kind": "local", "unit": 2},
        },
        "battery": {
            "language": {"kind": "language", "variants": ["null"]},
            "crossing": {"kind": "injection", "conditions": ["cross_task"], "pathways": ["vlm"]},
        },
        "entries": {"sound": {"policy": "toy:bundled"}, "noisy": {"policy": "toy:tiny-3"}},
    }
)


def play(folder, executor):
    complaints = []
    ended = run_comparison(
        FILE,
        folder,
        prepare(FILE, executor=executor),
        progress=False,
        tell=lambda line: None,
        say=complaints.append,
    )
    assert ended.ok, complaints


def happened(folder):
    """By entry and episode, what its record says."""
    return {
        (entry, r.plan.episode): r.model_dump(exclude=OF_THIS_PLAY)
        for entry in ENTRIES
        for r in read_episodes(folder / entry / entry)
    }


def tries(folder):
    return [line for entry in ENTRIES for line in read_log(folder / entry / entry)]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    play(folder, "local")
    return folder


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory, ray_cluster):
    folder = tmp_path_factory.mktemp("ray")
    play(folder, "ray")
    return folder


def test_ray_played_it(on_ray, local):
    assert all(line.unit for line in tries(on_ray))
    assert len(tries(on_ray)) == len(tries(local)) > 0


def test_outcomes_are_equal_episode_by_episode(local, on_ray):
    assert happened(on_ray) == happened(local)


def test_numbers_are_equal(local, on_ray):
    here, there = read_comparison(local), read_comparison(on_ray)
    for entry in ENTRIES:
        assert there.entry(entry).status == "finished"
        assert there.entry(entry).quantities == here.entry(entry).quantities
        assert set(there.entry(entry).quantities) == {"language", "crossing"}


def test_a_second_run_plays_nothing_on_either(on_ray, ray_cluster):
    before = tries(on_ray)
    play(on_ray, "ray")
    play(on_ray, "local")
    assert tries(on_ray) == before
