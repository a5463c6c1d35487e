"""Known values, properties and coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import bootstrap

from vlascope.statistics import (
    Pair,
    bootstrap_mean,
    compare,
    contrast,
    detectable_mean,
    detectable_rate,
    mcnemar_p,
    paired_score_interval,
    rate,
    sign_flip_p,
)


def test_wilson_gives_the_textbook_interval_for_15_of_20():
    found = rate([True] * 15 + [False] * 5)
    assert (found.value, found.n) == (0.75, 20)
    assert found.low == pytest.approx(0.5313, abs=1e-4)
    assert found.high == pytest.approx(0.8881, abs=1e-4)


def test_missing_outcomes_are_left_out_and_counted():
    found = rate([True, None, False, None])
    assert (found.value, found.n, found.missing) == (0.5, 2, 2)


def test_nothing_measured_is_no_number():
    assert rate([None]).value is None
    assert rate([]).low is None


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_its_rate_and_stays_within_0_and_1(case):
    count, n = case
    found = rate([True] * count + [False] * (n - count))
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.03857)])
def test_mcnemar_is_the_binomial_test_on_discordant_pairs(gained, lost, p):
    assert mcnemar_p(gained, lost) == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 12, 44), (9, 3, 40), (0, 4, 20)])
def test_score_interval_ends_where_the_score_test_with_a_numeric_fit_rejects(gained, lost, n):
    def statistic(d):
        def minus_log_likelihood(q):
            logs = xlogy(gained, q + d) + xlogy(lost, q) + xlogy(n - gained - lost, 1 - 2 * q - d)
            return -logs

        lowest, highest = max(0.0, -d) + 1e-12, (1 - d) / 2 - 1e-12
        q = minimize_scalar(
            minus_log_likelihood,
            bounds=(lowest, highest),
            method="bounded",
            options={"xatol": 1e-12},
        ).x
        return (gained - lost - n * d) / np.sqrt(n * (2 * q + d * (1 - d)))

    low, high = paired_score_interval(gained, lost, n)
    assert statistic(low) == pytest.approx(1.96, abs=1e-3)
    assert statistic(high) == pytest.approx(-1.96, abs=1e-3)


@given(st.integers(1, 60), st.data())
def test_score_interval_is_antisymmetric_and_contains_the_difference(n, data):
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    low, high = paired_score_interval(gained, lost, n)
    mirrored = paired_score_interval(lost, gained, n)
    assert low - 1e-9 <= (gained - lost) / n <= high + 1e-9
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-6)


def test_identical_arms_still_have_an_interval_with_a_width():
    found = compare([Pair(f"t{i % 6}", 1.0, 1.0) for i in range(30)], binary=True)
    assert found.difference.value == 0
    assert found.p == 1
    assert found.difference.low < 0 < found.difference.high
    assert "Tango" in found.difference.method


def test_pairs_with_an_error_episode_are_missing_not_failures():
    pairs = [Pair("a", 1.0, 1.0), Pair("a", None, 1.0), Pair("a", 1.0, None)]
    found = compare(pairs, binary=True)
    assert (found.difference.n, found.difference.missing, found.difference.value) == (1, 2, 0.0)


def test_bootstrap_agrees_with_scipy_on_one_cluster():
    values = np.random.default_rng(1).normal(1.0, 2.0, 40)
    ours = bootstrap_mean({"t": list(values)}, resamples=20_000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.05)


def test_few_tasks_are_resampled_within_and_many_as_wholes():
    few = bootstrap_mean({"a": [0.0, 1.0], "b": [0.0, 1.0]})
    many = bootstrap_mean({str(i): [0.0, 1.0] for i in range(8)})
    assert few.method == "bootstrap within 2 tasks"
    assert many.method == "bootstrap over 8 tasks"


def test_the_same_seed_gives_the_same_interval():
    clusters = {str(i): [0.1 * i, 0.3] for i in range(9)}
    assert bootstrap_mean(clusters, seed=3) == bootstrap_mean(clusters, seed=3)


def test_contrast_of_two_effects_has_a_width_even_where_every_pair_agrees():
    same = compare([Pair("a", 1.0, 1.0)] * 12, binary=True).difference
    worse = compare([Pair("b", 0.0, 1.0)] * 12, binary=True).difference
    found = contrast(same, worse)
    assert (found.value, found.n) == (1.0, 24)
    assert 0 < found.low < 1 < found.high


def test_contrast_covers_as_promised():
    def simulate(rng):
        return [
            compare(
                [Pair("t", float(a), float(b)) for a, b in rng.random((25, 2)) < p], binary=True
            ).difference
            for p in ([0.9, 0.6], [0.5, 0.5])
        ]

    def interval(pair):
        found = contrast(*pair)
        return found.low, found.high

    assert _coverage(simulate, interval, 0.3) > 0.92


def _coverage(simulate, interval, truth, rounds=300):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(rounds):
        low, high = interval(simulate(rng))
        hits += low <= truth <= high
    return hits / rounds


def test_wilson_covers_as_promised():
    covered = _coverage(
        lambda rng: rng.random(20) < 0.8,
        lambda x: ((e := rate([bool(v) for v in x])).low, e.high),
        0.8,
    )
    assert covered > 0.92


def test_score_interval_covers_as_promised():
    def simulate(rng):
        kinds = rng.choice(3, 30, p=[0.3, 0.1, 0.6])
        return int((kinds == 0).sum()), int((kinds == 1).sum())

    assert _coverage(simulate, lambda x: paired_score_interval(*x, 30), 0.2) > 0.92


def test_bootstrap_over_twenty_tasks_covers_an_effect_that_varies_by_task():
    def simulate(rng):
        return {str(t): list(rng.normal(rng.normal(0.5, 0.3), 0.2, 8)) for t in range(20)}

    def interval(clusters):
        found = bootstrap_mean(clusters, resamples=800)
        return found.low, found.high

    assert _coverage(simulate, interval, 0.5) > 0.88


def test_sign_flip_is_exact_for_few_pairs():
    assert sign_flip_p([1.0, 1.0, 1.0, 1.0]) == pytest.approx(2 / 16)
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([]) is None


@pytest.mark.parametrize("n", [1, 3, 5])
def test_five_pairs_can_show_nothing(n):
    assert detectable_rate(n, 0.2) is None


def test_detectable_rate_shrinks_with_n_and_grows_with_discordance():
    assert detectable_rate(200, 0.2) < detectable_rate(50, 0.2) < detectable_rate(20, 0.2)
    assert detectable_rate(60, 0.1) < detectable_rate(60, 0.5)


def test_the_detectable_difference_is_indeed_found_four_times_in_five():
    n, discordance = 60, 0.3
    d = detectable_rate(n, discordance)
    rng = np.random.default_rng(0)
    chances = [(discordance + d) / 2, (discordance - d) / 2, 1 - discordance]
    draws = rng.multinomial(n, chances, 1500)
    found = np.mean([mcnemar_p(int(b), int(c)) <= 0.05 for b, c, _ in draws])
    assert 0.77 < found < 0.86


def test_detectable_mean_is_in_the_unit_of_the_data():
    values = np.random.default_rng(0).normal(0, 1, 30)
    assert detectable_mean(list(values * 10)) == pytest.approx(10 * detectable_mean(list(values)))
