"""What a run writes down of its own work: phases, workers and errors by kind."""

import os
import time

import pytest

from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.rollout.log import error_kind, read_log
from vlascope.study.status import tally


@pytest.fixture
def played(trick_world, tmp_path):
    from trick_world import walker

    tasks = ("walk", "naps", "raises", "crashes")
    plans = [EpisodePlan(arm="base", task=task, seed=0, stop_on_success=False) for task in tasks]
    run_episodes(
        walker(), BenchmarkSpec(name="trick"), plans, tmp_path, workers=1, envs_per_worker=1,
        progress=False,
    )  # fmt: skip
    return tmp_path


def test_every_try_leaves_one_line_with_what_it_took(played):
    lines = {line.task: line for line in read_log(played)}
    assert set(lines) == {"walk", "naps", "raises", "crashes"}
    naps = lines["naps"]
    assert naps.worker.endswith(f":{os.getpid()}")
    assert naps.phases["physics"] >= 20 * 0.005
    assert sum(naps.phases.values()) <= naps.seconds + naps.phases["write"] + 0.01
    assert abs(naps.at - time.time()) < 600


def test_errors_are_summed_up_by_kind(played):
    found = tally(read_log(played))
    assert found.errors == {"ValueError": 1, "was killed by SIGSEGV": 1}
    assert sum(found.shares.values()) == pytest.approx(1)
    assert "1 ended with an error: ValueError" in found.sentences()


def test_a_torn_line_is_no_line(played):
    path = played / "log.jsonl"
    path.write_text(path.read_text()[:-20])
    assert len(list(read_log(played))) == 3


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ValueError: joint 3\nTraceback ...", "ValueError"),
        ("mujoco.FatalError: gladLoadGL", "mujoco.FatalError"),
        ("the environment stopped: it did not answer within 9 s", "it did not answer within 9 s"),
        (
            "the environment stopped: its process was killed by SIGKILL; it last printed:\nx",
            "was killed by SIGKILL",
        ),
        ("the action at step 12 was not finite", "the action at step N was not finite"),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_errors_of_a_kind_have_one_name(reason, kind):
    assert error_kind(reason) == kind
