"""Metrics on made-up episodes whose answers are plain to see."""

import numpy as np
import pytest

from vlascope.records import EpisodePlan, EpisodeRecord, PolicyIdentity
from vlascope.study.metrics import METRICS, Trio, behaviour, cosine, override_verdict
from vlascope.study.played import Episodes, Played


class Made(Played):
    """An episode whose arrays are given."""

    def __init__(self, record, hand=None, actions=None):
        super().__init__(record, None)
        given = {"end_effector": hand, "action": actions}
        object.__setattr__(self, "given", given)

    def _array(self, name):
        found = self.given[name]
        return None if found is None else np.asarray(found, float)


def episode(task="a", *, hand=None, actions=None, **more):
    record = EpisodeRecord(
        digest="0" * 16,
        plan=EpisodePlan(arm="x", task=task, seed=0),
        policy=PolicyIdentity(adapter="toy", checkpoint="c", checkpoint_hash="h"),
        benchmark="toy",
        instruction="",
        batch_mode="exact",
        seconds=0.0,
        versions={},
        **{"scene": "s", "status": "ok", "success": False, "steps": 2, **more},
    )
    return Made(record, hand, actions)


def line(direction, steps=4):
    return [[i * d for d in direction] for i in range(steps + 1)]


X, Y = (1.0, 0, 0), (0, 1.0, 0)


def measured(metric, trio):
    return METRICS[metric].measure(trio)


def test_displacement_is_over_common_steps():
    trio = Trio(episode(hand=line(X, 2)), own=episode(hand=line(Y, 5)))
    assert measured("final_displacement", trio) == pytest.approx(2 * 2**0.5)
    assert measured("displacement", trio) == pytest.approx(2**0.5)


def test_cosines_of_equal_and_opposite_movements():
    trio = Trio(
        episode(hand=line(X), actions=[[1, 0]]), own=episode(hand=line(X), actions=[[-2, 0]])
    )
    assert measured("velocity_cosine", trio) == pytest.approx(1)
    assert measured("action_cosine", trio) == pytest.approx(-1)


def test_standing_still_has_no_cosine():
    assert cosine(np.zeros((3, 2)), np.ones((3, 2))) is None


def test_missing_parts_are_none_not_zero():
    for name, metric in METRICS.items():
        if name not in ("success", "own_goal"):
            assert metric.measure(Trio(episode())) is None
    failed = episode(status="error", success=None)
    assert measured("success", Trio(failed)) is None


@pytest.mark.parametrize(
    ("hand", "verdict", "strict"),
    [(line(Y), "source", 1.0), (line(X), "destination", 0.0), (line((1, 1, 0)), "ambiguous", 0.0)],
)
def test_override_says_whose_path_it_is(hand, verdict, strict):
    trio = Trio(episode(hand=hand), own=episode(hand=line(X)), source=episode("b", hand=line(Y)))
    assert override_verdict(trio) == verdict
    assert measured("override", trio) == strict
    assert measured("override_margin", trio) == float(verdict == "source")


def test_an_injection_from_the_same_task_has_no_override():
    same = episode(hand=line(X))
    assert override_verdict(Trio(same, own=same, source=same)) is None


def test_behaviour_is_the_first_goal_that_newly_came_true():
    seen = episode(predicates={"a": 1, "b": 3, "c": 2, "near": 2}, initial_predicates=("c",))
    assert behaviour(seen, {"a", "b", "c"}) == "b"
    assert behaviour(episode(), {"a"}) is None


def test_goals_are_known_only_where_the_scene_reports_them():
    here, source = episode(predicates={"b": 4}), episode("b")
    seen = {("s", "a"), ("s", "b")}
    assert measured("source_goal", Trio(here, source=source, watched=seen)) == 1
    assert measured("own_goal", Trio(here, watched=seen)) == 0
    assert measured("source_goal", Trio(here, source=source)) is None


def test_an_error_is_replaced_by_a_later_good_try():
    failed, fine = episode(status="error", success=None), episode()
    episodes = Episodes([("p", failed), ("p", fine)])
    assert episodes.ok("p", "x", ("a", 0)) is fine
    assert Episodes([("p", failed)]).ok("p", "x", ("a", 0)) is None
