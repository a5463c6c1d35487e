"""Units of work: cut, hashed, played elsewhere as plain data, committed whole."""

import pickle
from contextlib import closing
from pathlib import Path

import pytest

from vlascope.errors import EnvironmentFailed
from vlascope.rollout import BenchmarkSpec, read_episodes
from vlascope.rollout.flight import Planned
from vlascope.study.design import design
from vlascope.study.execution import run_study
from vlascope.study.executors import LocalExecutor, load_policy
from vlascope.study.loading import load_study
from vlascope.study.ray_executor import RayExecutor
from vlascope.units.player import UnitPlayer
from vlascope.units.unit import PlayedUnit, Unit, cut

TOY = Path(__file__).parents[1] / "study" / "toy.yaml"
SMALL = (
    "seeds=0", "batch=exact", "workers=1", "report={}", "findings={}", "groups={}", "max_steps=8",
    'tasks=["suite:shared"]', "pairings={}", "arms={base: {record: [vlm.2.resid_post]}}",
)  # fmt: skip


class Elsewhere:
    """Stands in for a fleet: one player, to whom everything is sent as bytes."""

    def __init__(self, adapter, fails_after=None):
        self.adapter, self.fails_after, self.played = adapter, fails_after, 0

    def play(self, assignment, units):
        player = UnitPlayer(self.adapter, BenchmarkSpec(name="toy"), workers=1, envs_per_worker=1)
        with closing(player):
            for unit in units:
                sent = pickle.loads(pickle.dumps((assignment, unit)))
                found = pickle.loads(pickle.dumps(player.play(*sent)))
                self.played += 1
                if self.played == self.fails_after:
                    failure = EnvironmentFailed("the licence server is down")
                    found = PlayedUnit(**{**vars(found), "failure": failure})
                yield found


@pytest.fixture(scope="module")
def study():
    return load_study(TOY, [*SMALL, "executor={kind: ray, unit: 2, actors: 1}"])


@pytest.fixture(scope="module")
def policy(study):
    return load_policy(study.policies["toy"])


def planned(n):
    tasks = design(load_study(TOY, ["seeds=0-99"])).groups[0].plans[:n]
    return [Planned(plan, None, f"{i:016x}") for i, plan in enumerate(tasks)]


def test_units_hold_every_episode_once_and_every_player_gets_one():
    assert [len(u) for u in cut(planned(25), 10, 2)] == [10, 10, 5]
    assert [len(u) for u in cut(planned(6), 10, 3)] == [2, 2, 2]
    assert cut([], 10, 2) == []
    units = cut(planned(25), 7, 2)
    assert [p for unit in units for p in unit.episodes] == planned(25)


def test_a_unit_is_named_by_what_it_holds():
    first, again, other = Unit(tuple(planned(3))), Unit(tuple(planned(3))), Unit(tuple(planned(4)))
    assert first.digest == again.digest != other.digest


def test_what_is_played_elsewhere_is_committed_as_if_here(study, policy, tmp_path):
    laid_out = design(study)
    (group,) = (g for g in laid_out.groups if g.arm == "base")
    here = LocalExecutor(policy, tmp_path / "here", progress=False).run(laid_out, group)
    fleet = Elsewhere(policy)
    there = RayExecutor(policy, tmp_path / "there", fleet, progress=False)
    found = there.run(laid_out, group)
    assert fleet.played == 2
    apart = {"seconds"}
    assert [r.model_dump(exclude=apart) for r in found] == [
        r.model_dump(exclude=apart) for r in here
    ]
    for name in ("episodes", "activations/units"):
        files = sorted(p.name for p in (tmp_path / "here" / name).iterdir())
        assert files == sorted(p.name for p in (tmp_path / "there" / name).iterdir())
        assert all(
            (tmp_path / "here" / name / f).read_bytes()
            == (tmp_path / "there" / name / f).read_bytes()
            for f in files
        )
    assert there.run(laid_out, group) == found
    assert fleet.played == 2


def test_a_unit_that_is_given_up_keeps_what_it_finished(study, policy, tmp_path):
    laid_out = design(study)
    (group,) = laid_out.groups
    executor = RayExecutor(policy, tmp_path, Elsewhere(policy, fails_after=1), progress=False)
    with pytest.raises(EnvironmentFailed, match="licence server"):
        executor.run(laid_out, group)
    assert len(read_episodes(tmp_path)) == 2


def test_a_study_on_ray(ray_cluster, study, tmp_path):
    outcome = run_study(study, tmp_path, progress=False)
    assert outcome.ok, outcome.complaints
    records = read_episodes(tmp_path / "toy")
    assert [r.status for r in records] == ["ok"] * 3
