"""Differences of means: the direction that is there is found, and none is where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from vlascope.differences import mean_difference
from vlascope.errors import UnknownName, UnusableActivations
from vlascope.hand import hand_series


def test_a_planted_direction_is_found() -> None:
    rng = np.random.default_rng(0)
    planted = rng.standard_normal(64)
    planted /= np.linalg.norm(planted)
    found = mean_difference(6 * planted + rng.standard_normal((20, 64)))
    assert found.vector @ planted / np.linalg.norm(found.vector) > 0.9
    assert found.p < 0.01
    assert found.agreement.value == 1
    assert found.n == 20


@pytest.mark.parametrize(("units", "scale"), [(8, 1.0), (30, 1.0), (30, 50.0)])
def test_where_there_is_none_it_is_found_at_the_nominal_rate(units: int, scale: float) -> None:
    """200 repetitions of no difference, one dimension as loud as a real policy's outliers."""
    loud = np.ones(32)
    loud[3] = scale
    found = [
        mean_difference(np.random.default_rng(i).standard_normal((units, 32)) * loud, flips=500).p
        for i in range(200)
    ]
    hits = sum(p <= 0.05 for p in found)
    assert binom.ppf(0.001, 200, 0.05) <= hits <= binom.ppf(0.999, 200, 0.05)


@pytest.mark.parametrize("wrong", [np.ones((1, 4)), np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_too_few_units_or_nothing_to_find_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(UnusableActivations):
        mean_difference(wrong)


def test_a_hand_is_measured_in_si_units() -> None:
    path = np.array([[0, 0, 0.1], [0.03, 0, 0.14], [0.03, 0, 0.1]])
    np.testing.assert_allclose(hand_series("speed", path, 10), [0.5, 0.4])
    np.testing.assert_allclose(hand_series("height", path, 10), [0.14, 0.1])
    np.testing.assert_allclose(hand_series("rise", path, 10), [0.4, -0.4])
    with pytest.raises(UnknownName, match="speed"):
        hand_series("sped", path, 10)
