"""Anytime-valid intervals cover at every length at once, and narrow as values come in."""

import numpy as np
import pytest

from vlascope.statistics.sequential import betting_interval, betting_p, running_intervals

STREAMS, LENGTH = 200, 80


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_over_many_streams_the_rate_is_rarely_ever_left_out(share):
    rng = np.random.default_rng(int(100 * share))
    ever_out = 0
    for _ in range(STREAMS):
        ends = running_intervals((rng.random(LENGTH) < share).astype(float))
        ever_out += bool(((ends[:, 0] > share) | (ends[:, 1] < share)).any())
    assert ever_out / STREAMS <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / STREAMS)


def test_a_wilson_interval_looked_at_all_the_time_leaves_it_out_more_often():
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(1)
    ever_out, n = 0, np.arange(1, LENGTH + 1)
    for _ in range(STREAMS):
        low, high = proportion_confint(np.cumsum(rng.random(LENGTH) < 0.5), n, method="wilson")
        ever_out += bool(((low > 0.5) | (high < 0.5)).any())
    assert ever_out / STREAMS > 0.15


def test_paired_differences_of_several_tasks_are_covered():
    """Tasks differ, rounds are alike: the mean over tasks of (arm - control), in [-1, 1]."""
    rng = np.random.default_rng(2)
    arm, control = np.array([0.9, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    truth, ever_out = float((arm - control).mean()), 0
    for _ in range(STREAMS):
        values = ((rng.random((LENGTH, 3)) < arm) * 1.0 - (rng.random((LENGTH, 3)) < control)).mean(
            1
        )
        ends = running_intervals(values, low=-1, high=1)
        ever_out += bool(((ends[:, 0] > truth) | (ends[:, 1] < truth)).any())
    assert ever_out / STREAMS <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / STREAMS)


def test_a_true_null_is_rarely_ever_rejected_and_a_false_one_soon_is():
    rng = np.random.default_rng(3)
    ps = [betting_p((rng.random(LENGTH) < 0.5).astype(float), 0.5) for _ in range(STREAMS)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / STREAMS)
    assert betting_p([1.0] * 30, 0.5) < 0.001


def test_intervals_never_widen_and_hold_the_value():
    values = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0] * 10
    ends = running_intervals(values)
    assert (np.diff(ends[:, 0]) >= 0).all()
    assert (np.diff(ends[:, 1]) <= 0).all()
    found = betting_interval(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.4


def test_a_value_outside_its_bounds_is_refused():
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        betting_interval([0.5, 1.5])


def test_nothing_measured_has_no_interval():
    assert betting_interval([]).value is None
