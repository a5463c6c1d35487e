"""A study leaves the same behind, whoever played it."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vlascope.rollout import EpisodeArrays, read_episodes
from vlascope.rollout.log import read_log
from vlascope.store import ActivationStore
from vlascope.store.verify import verify_store
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

pytestmark = pytest.mark.slow

TOY = Path(__file__).parents[1] / "study" / "toy.yaml"
SMALL = ("seeds=0", "batch=exact", "workers=1", "report={}")
ARMS = ("baseline", "wrong_prompt", "vlm", "vlm.random_direction")
OF_THIS_PLAY = {"seconds", "largest_batch"}
"""Fields of a record that say how it was played, and not what happened."""


def play(folder, *overrides, executor, arms=ARMS):
    study = load_study(TOY, [*SMALL, *overrides, f"executor={{kind: {executor}, unit: 3}}"])
    outcome = run_study(study, folder, arms=arms, progress=False)
    assert outcome.ok, outcome.complaints


def happened(folder):
    """By episode, what its record says."""
    return {
        r.plan.episode: r.model_dump(exclude=OF_THIS_PLAY) for r in read_episodes(folder / "toy")
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    play(folder, executor="local")
    return folder


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory, ray_cluster):
    folder = tmp_path_factory.mktemp("ray")
    play(folder, executor="ray")
    return folder


def test_records_are_equal(local, on_ray):
    assert happened(on_ray) == happened(local)


def test_arrays_are_equal_bit_for_bit(local, on_ray):
    for record in read_episodes(local / "toy"):
        here = EpisodeArrays.load(local / "toy", record)
        there = EpisodeArrays.load(on_ray / "toy", record)
        assert set(here) == set(there)
        assert all(np.array_equal(here[k], there[k], equal_nan=True) for k in here)


def test_activations_are_equal_and_sound(local, on_ray):
    here = ActivationStore.open(local / "toy" / "activations")
    there = ActivationStore.open(on_ray / "toy" / "activations")
    assert here.episodes() == there.episodes()
    assert list(verify_store(there.path)) == []
    for point in here.points:
        assert np.array_equal(here.read(point).values, there.read(point).values)


def test_one_executor_goes_on_where_the_other_stopped(local, tmp_path, ray_cluster):
    play(tmp_path, executor="ray", arms=("baseline",))
    before = (tmp_path / "toy" / "episodes.jsonl").read_bytes()
    play(tmp_path, executor="local")
    after = (tmp_path / "toy" / "episodes.jsonl").read_bytes()
    assert after.startswith(before)
    assert happened(tmp_path) == happened(local)
    play(tmp_path, executor="ray")
    assert (tmp_path / "toy" / "episodes.jsonl").read_bytes() == after


def test_the_log_says_who_played_which_unit(on_ray):
    lines = list(read_log(on_ray / "toy"))
    played = [r for r in read_episodes(on_ray / "toy") if r.shared is None]
    assert sorted(line.digest for line in lines) == sorted(r.digest for r in played)
    assert all(line.unit and str(os.getpid()) not in line.worker for line in lines)
    assert max(sum(x.unit == line.unit for x in lines) for line in lines) == 3
    assert {"physics", "render", "policy", "write"} == set(lines[0].phases)


def test_a_killed_worker_costs_its_unit_only_and_the_run_goes_on(local, tmp_path, ray_cluster):
    killed = []

    def kill_one():
        log = tmp_path / "toy"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = list(read_log(log))
            if lines:
                pid = int(lines[-1].worker.partition(":")[2])
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    play(tmp_path, executor="ray")
    killer.join()
    assert killed
    assert happened(tmp_path) == happened(local)


def test_an_edit_that_never_acts_is_refused_before_anything_is_written(tmp_path, ray_cluster):
    edit = "{kind: identity, at: vlm.0.resid_post, tokens: nothing}"
    never = f"arms={{base: {{}}, hooked: {{interventions: [{edit}]}}}}"
    study = load_study(
        TOY,
        [*SMALL, never, "executor=ray", "findings={}", "groups={}", "pairings={}"],
    )
    outcome = run_study(study, tmp_path, progress=False)
    assert outcome.arms["toy"]["base"].status == "ok"
    assert outcome.arms["toy"]["hooked"].status == "failed"
    assert "edited nothing" in (outcome.arms["toy"]["hooked"].error or "")
    assert {r.plan.arm for r in read_episodes(tmp_path / "toy")} == {"base"}


def test_analyses_run_on_the_driver_and_arms_use_what_they_found(tmp_path, ray_cluster):
    edit = "{kind: from_analysis, analysis: average, key: 'mean:vlm.2.resid_post'}"
    parts = (
        "arms={base: {}, without: {interventions: [" + edit + "], controls: {waived: a test}}}",
        "analyses={average: {kind: means, arms: [base], at: [vlm.2.resid_post]}}",
        "findings={}", "groups={}", "pairings={}", 'tasks=["suite:shared"]',
    )  # fmt: skip
    for executor in ("ray", "local"):
        study = load_study(TOY, [*SMALL, *parts, f"executor={executor}"])
        outcome = run_study(study, tmp_path / executor, progress=False)
        assert outcome.ok, outcome.complaints
    found = [tmp_path / e / "toy" / "analyses" / "average" for e in ("ray", "local")]
    assert (found[0] / "inputs.sha256").read_text() == (found[1] / "inputs.sha256").read_text()
    assert happened(tmp_path / "ray") == happened(tmp_path / "local")
