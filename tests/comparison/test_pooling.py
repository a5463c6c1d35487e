"""Pooling recovers what was put in, covers it as often as it says, and tells seeds from kinds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from vlascope.comparison.members import Member, Spot
from vlascope.comparison.pooling import pool, pool_all
from vlascope.comparison.random_effects import random_effects
from vlascope.statistics import Estimate, rate
from vlascope.study.quantity import Quantity

SPOT = Spot("test.effect")
REPEATED = 150


def estimate(value, se, n=40):
    return Estimate(value=value, low=value - 1.96 * se, high=value + 1.96 * se, n=n, method="made")


def member(name, value, family=None, **more):
    quantity = Quantity(key=SPOT.key, label="effect", value=value, signed=True, unit="m", **more)
    return Member(name, family or name, (quantity,))


def covered(rng, k, tau, sigma):
    """Whether the interval of k architectures around 0.3 holds it."""
    spread = np.asarray(sigma)
    truths = rng.normal(0.3, tau, k)
    found = random_effects(rng.normal(truths, spread).tolist(), (spread**2).tolist())
    return found.low <= 0.3 <= found.high


@pytest.mark.parametrize(("k", "tau"), [(3, 0.0), (3, 0.4), (7, 0.1)])
def test_the_interval_holds_the_truth_as_often_as_it_says(k, tau):
    rng = np.random.default_rng(k)
    sigma = rng.uniform(0.05, 0.2, k)
    hits = sum(covered(rng, k, tau, sigma) for _ in range(REPEATED))
    assert hits >= binom.ppf(0.001, REPEATED, 0.95)


def test_rates_from_episodes_are_covered_too():
    """Seven architectures, 40 episodes each; the mean of their true rates is what is sought."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(REPEATED):
        truths = np.clip(rng.normal(0.6, 0.12, 7), 0, 1)
        members = [
            Member(str(i), str(i), (Quantity(
                key=SPOT.key, label="rate", value=rate(list(rng.random(40) < t))),))
            for i, t in enumerate(truths)
        ]  # fmt: skip
        value = pool(members, SPOT).value
        hits += value.low <= 0.6 <= value.high
    assert hits >= binom.ppf(0.001, REPEATED, 0.95)


def test_one_more_architecture_lies_where_it_is_predicted():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(REPEATED):
        truths = rng.normal(0, 0.3, 8)
        found = random_effects(rng.normal(truths, 0.1).tolist(), [0.01] * 8)
        hits += found.prediction[0] <= rng.normal(0, 0.3) <= found.prediction[1]
    assert hits >= binom.ppf(0.001, REPEATED, 0.95)


def test_the_spread_of_true_values_is_recovered():
    rng = np.random.default_rng(3)
    truths = rng.normal(0, 0.3, 400)
    found = random_effects(rng.normal(truths, 0.2).tolist(), [0.04] * 400)
    assert math.sqrt(found.tau2) == pytest.approx(0.3, abs=0.04)
    assert found.tau2_low < 0.09 < found.tau2_high
    assert found.i2 == pytest.approx(0.09 / 0.13, abs=0.06)
    assert found.q_p < 1e-6


def test_effects_that_happen_to_agree_do_not_make_the_mean_certain():
    found = random_effects([0.3, 0.3, 0.3], [0.01] * 3)
    assert found.tau2 == 0
    assert found.high - found.low > 2 * 1.96 * 0.1 / math.sqrt(3)


def test_two_seeds_do_not_count_as_two_architectures():
    a, b, c = estimate(0.9, 0.1), estimate(0.1, 0.1), estimate(0.5, 0.1)
    pooled = pool([member("a", a), member("a2", a, "a"), member("b", b), member("c", c)], SPOT)
    assert pooled.value.n == 3
    assert pooled.value.value == pytest.approx(0.5, abs=0.02)
    assert [f.entries for f in pooled.families] == [("a", "a2"), ("b",), ("c",)]
    assert pooled.families[0].value.n == 80
    half = pooled.families[0].value.high - 0.9
    assert half == pytest.approx(1.96 * 0.1 / math.sqrt(2), rel=1e-3)


def test_seeds_apart_are_shown_beside_architectures_apart():
    members = [
        member(f"{family}{seed}", estimate(centre + shift, 0.02), family)
        for family, centre in (("a", 0.1), ("b", 0.5), ("c", 0.9))
        for seed, shift in ((0, -0.03), (1, 0.03))
    ]
    pooled = pool(members, SPOT)
    assert pooled.seeds.observed == pytest.approx(0.03 * math.sqrt(2))
    assert pooled.seeds.groups == 3
    assert pooled.architectures.observed == pytest.approx(0.4)
    assert pooled.seeds.sampling == pytest.approx(0.02, rel=1e-3)
    assert pool(members[::2], SPOT).seeds is None


def test_what_has_no_interval_is_left_out_with_the_reason():
    flat = Estimate(value=0.0, low=0.0, high=0.0, n=12, method="bootstrap over 6 tasks")
    why = member("d", None, why_not="no such pathway")
    members = [member("a", estimate(0.2, 0.1)), member("b", estimate(0.4, 0.1))]
    pooled = pool([*members, member("c", flat), why], SPOT)
    assert pooled.left_out == {
        "c": "no interval, or one of no width (bootstrap over 6 tasks, n = 12)",
        "d": "no such pathway",
    }
    assert pool([members[0], member("c", flat)], SPOT) is None


def test_a_policy_made_to_differ_counts_in_no_mean():
    members = [member("a", estimate(0.2, 0.1), "a"), member("b", estimate(0.4, 0.1), "b")]
    odd = replace(member("a_few", estimate(0.9, 0.1), "a"), pooled=False)
    pooled = pool([*members, odd], SPOT)
    assert pooled.value == pool(members, SPOT).value
    assert pooled.left_out == {"a_few": "not to be pooled"}


def test_only_the_same_place_is_pooled():
    early = estimate(0.1, 0.1)
    members = [
        member("a", early, pathway="vlm", depth="early"),
        member("b", early, pathway="vlm", depth="late"),
    ]
    assert pool_all(members) == ()
    members = [
        member("a", early, pathway="vlm", depth="mid", at=0.4),
        member("b", early, pathway="vlm", depth="mid", at=0.5),
    ]
    (pooled,) = pool_all(members)
    assert pooled.spot.depth == "mid"


def test_shares_stay_within_what_shares_can_be():
    wide = [estimate(v, 0.3) for v in (0.95, 0.99)]
    members = [
        Member(str(i), str(i), (Quantity(key=SPOT.key, label="rate", value=v),))
        for i, v in enumerate(wide)
    ]
    value = pool(members, SPOT).value
    assert value.low >= 0
    assert value.high == 1


def test_fewer_than_two_effects_or_a_certain_one_cannot_be_pooled():
    with pytest.raises(ValueError, match="two or more"):
        random_effects([0.1], [0.1])
    with pytest.raises(ValueError, match="all above 0"):
        random_effects([0.1, 0.2], [0.1, 0.0])
