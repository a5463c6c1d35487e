"""Metrics on made-up episodes whose answers are plain to see."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

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
        batch_mode="exact",
        seconds=0.0,
        versions={},
        **{"instruction": "", "scene": "s", "status": "ok", "success": False, "steps": 2, **more},
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


def test_the_two_action_cosines_differ_where_lengths_do():
    """Flattened, long actions count more; over time, each step counts alike."""
    trio = Trio(episode(actions=[[10, 0], [1, 0]]), own=episode(actions=[[10, 0], [0, 1]]))
    assert measured("action_cosine", trio) == pytest.approx(100 / 101)
    assert measured("action_cosine_mean", trio) == pytest.approx(0.5)


def test_alignment_is_ranked_among_unrelated_episodes():
    spread = [line((np.cos(a), np.sin(a), 0)) for a in np.linspace(0.1, 3, 9)]
    unrelated = [episode(f"u{i}", hand=hand) for i, hand in enumerate(spread)]
    towards, away = episode("b", hand=line(X)), episode("b", hand=line((-1.0, 0, 0)))
    here = episode(hand=line(X))
    assert measured("source_alignment_rank", Trio(here, source=towards, unrelated=unrelated)) == 1
    assert measured("source_alignment_rank", Trio(here, source=away, unrelated=unrelated)) == 0
    assert measured("source_alignment", Trio(here, source=away)) == pytest.approx(-1)
    few = Trio(here, source=towards, unrelated=unrelated[:4])
    assert measured("source_alignment_rank", few) is None


def test_unrelated_episodes_rank_as_chance_does():
    """200 null repetitions: a source like any other ranks uniformly (Kolmogorov-Smirnov)."""
    rng = np.random.default_rng(0)
    ranks = []
    for _ in range(200):
        hands = [episode(str(i), hand=line(rng.standard_normal(3))) for i in range(22)]
        trio = Trio(hands[0], source=hands[1], unrelated=hands[2:])
        ranks.append(measured("source_alignment_rank", trio))
    assert kstest(ranks, "uniform").pvalue > 0.001
    assert sum(r >= 0.95 for r in ranks) <= binom.ppf(0.999, 200, 0.1)


def test_a_source_told_something_else_is_another_behaviour():
    own = episode(hand=line(X))
    told = episode(hand=line(Y), instruction="otherwise")
    assert measured("override", Trio(episode(hand=line(Y)), own=own, source=told)) == 1
    assert measured("override", Trio(episode(hand=line(Y)), own=own, source=own)) is None


def test_objects_speed_and_height():
    def scene(end):
        made = episode(hand=[[0, 0, 1], [0, 0.002, 1.5], [0, 0.004, 2.0]])
        made.__dict__["objects"] = {
            "cup": np.array([[0, 0, 0], [end, 0, 0]]),
            "gone": np.full((2, 3), np.nan),
        }
        return made

    moved = Trio(scene(0.03), own=scene(0.005))
    assert measured("object_moved", moved) == pytest.approx(0.03)
    assert measured("objects_disturbed", moved) == 1
    assert measured("objects_disturbed", Trio(scene(0.005))) == 0
    assert measured("object_displacement", moved) == pytest.approx(0.025)
    assert measured("hand_speed", moved) == pytest.approx(500, rel=1e-3)
    assert measured("hand_height", moved) == pytest.approx(1.5)


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
