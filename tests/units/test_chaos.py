"""Killed anywhere, again and again, a study ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vlascope.records import EpisodeRecord
from vlascope.rollout import EpisodeArrays, read_episodes
from vlascope.study.loading import load_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc"),
]

TOY = Path(__file__).parents[1] / "study" / "toy.yaml"
EPISODES = 200
STUDY = (
    "seeds=0-9", "batch=exact", "workers=2", "envs_per_worker=1", "max_steps=12",
    'tasks=["suite:shared", "unique/red", "unique/green"]', "report={}", "findings={}",
    "groups={}", "pairings={}",
    "arms={baseline: {}, null_prompt: {prompt: ''}, other_words: {prompt: {paraphrase: 1}},"
    " hooked: {interventions: [{kind: identity, at: vlm.2.resid_post}]}}",
)  # fmt: skip
RUN = f"""
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
study = load_study({str(TOY)!r}, [*{STUDY!r}, "executor={{kind: " + sys.argv[2] + ", unit: 5}}"])
outcome = run_study(study, Path(sys.argv[1]), progress=False)
sys.exit(0 if outcome.ok else 3)
"""


def start(folder, executor):
    environment = {**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), executor], env=environment)


def happened(folder):
    return {
        r.plan.episode: r.model_dump(exclude={"seconds", "shared", "largest_batch"})
        for r in read_episodes(folder / "toy")
        if r.status == "ok"
    }


def finished(folder):
    path = folder / "toy" / "episodes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def processes():
    """(pid, parent, command line) of everything alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z":
            found.append((int(folder.name), int(stat[1]), command))
    return found


def under(pid):
    """Every process below `pid`, itself left out."""
    alive, found, wanted = processes(), [], {pid}
    while True:
        new = [p for p in alive if p[1] in wanted and p[0] not in wanted]
        if not new:
            return found
        found += new
        wanted |= {p[0] for p in new}


def alive(kind, driver):
    """The driver, its environment workers, or its Ray actors: who of them is up."""
    if kind == "driver":
        return [driver.pid]
    name = {"worker": "vlascope.rollout.worker", "actor": "ray::UnitActor"}[kind]
    return [pid for pid, _, command in under(driver.pid) if name in command]


def disturb(folder, executor, rng, kinds):
    """Run until done, killing one of every kind in turn after some more episodes."""
    left = list(kinds)
    while True:
        driver = start(folder, executor)
        while left and driver.poll() is None:
            aim = finished(folder) + rng.randint(1, EPISODES // (len(kinds) + 1))
            while driver.poll() is None and (finished(folder) < aim or not alive(left[0], driver)):
                time.sleep(0.02)
            if driver.poll() is not None:
                break
            there = alive(left[0], driver)
            if there and kill(rng.choice(there)):
                left.pop(0)
        code = driver.wait()
        if code == 0:
            return left
        assert code == -signal.SIGKILL, f"the run ended with {code}"


def kill(pid):
    """Whether there was somebody to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder, "local").wait() == 0
    return folder


def test_the_study_has_200_episodes():
    study = load_study(TOY, STUDY)
    assert len(study.arms) * len(study.seeds) * 5 == EPISODES


@pytest.mark.parametrize(
    ("executor", "kinds"),
    [
        ("local", ["worker", "driver", "driver", "worker", "worker", "driver"]),
        ("ray", ["actor", "driver", "worker", "actor"]),
    ],
)
def test_every_episode_is_there_once_and_equal_to_an_undisturbed_run(
    undisturbed, tmp_path, executor, kinds
):
    rng = random.Random(executor)
    rng.shuffle(kinds)
    assert disturb(tmp_path, executor, rng, kinds) == [], "it ended before all were killed"
    # A worker that is killed under an episode leaves an error, which the next run plays again.
    for _ in range(2):
        assert start(tmp_path, "local").wait() == 0
    there, expected = happened(tmp_path), happened(undisturbed)
    assert len(there) == EPISODES
    assert there == expected
    lines = (tmp_path / "toy" / "episodes.jsonl").read_text().splitlines()
    written = [r for r in map(EpisodeRecord.model_validate_json, lines) if r.status == "ok"]
    assert Counter(r.plan.episode for r in written) == dict.fromkeys(expected, 1)
    for record in written:
        here = EpisodeArrays.load(tmp_path / "toy", record)
        other = EpisodeArrays.load(undisturbed / "toy", record)
        assert all(np.array_equal(here[k], other[k], equal_nan=True) for k in other)
