"""Numbers that cannot be anything stay within what they can be, pooled or not."""

from __future__ import annotations

import pytest

from vlascope.comparison.members import Member, Spot
from vlascope.comparison.pooling import pool
from vlascope.statistics import Comparison, Estimate
from vlascope.study.metrics import METRICS
from vlascope.study.quantity import Quantity, of_difference

SPOT = Spot("test.number")


def near(value, reach=0.12):
    return Estimate(value=value, low=value - reach, high=value + reach, n=20, method="made")


def pooled(values, families=None, **more):
    names = families or [str(i) for i in range(len(values))]
    members = [
        Member(f"e{i}", family, (Quantity(key=SPOT.key, label="x", value=near(v), **more),))
        for i, (v, family) in enumerate(zip(values, names, strict=True))
    ]
    return pool(members, SPOT)


@pytest.mark.parametrize(
    ("values", "more", "within"),
    [
        ((0.97, 0.95), {}, (0, 1)),
        ((0.97, 0.95), {"unit": "1", "bounds": (0.0, 1.0)}, (0, 1)),
        ((-0.97, -0.95), {"signed": True}, (-1, 1)),
        ((0.97, 0.95), {"unit": "1", "bounds": (None, 1.0)}, (None, 1)),
        ((0.01, 0.02), {"unit": "m", "bounds": (0.0, None)}, (0, None)),
    ],
)
def test_a_pooled_interval_is_cut_to_what_the_number_can_be(values, more, within):
    found = pooled(values, **more)
    (low, high), (least, most) = (found.value.low, found.value.high), within
    assert least is None or low >= least
    assert most is None or high <= most
    assert low == least or high == most
    assert "cut to what can be" in found.value.method


def test_the_prediction_interval_is_cut_as_well():
    assert pooled((0.97, 0.8, 0.99), unit="1", bounds=(0.0, 1.0)).prediction[1] == 1


def test_a_number_without_bounds_is_left_as_it_is():
    found = pooled((0.97, 0.95), unit="1")
    assert found.value.high > 1
    assert "cut" not in found.value.method


def test_a_difference_of_two_differences_may_leave_one():
    effects = of_difference((0.0, 1.0))
    assert of_difference(effects) == (-2, 2)
    found = pooled((-1.1, -1.4), signed=True, bounds=of_difference(effects))
    assert -2 <= found.value.low < -1


def test_cutting_seeds_does_not_make_them_look_surer():
    cut = pooled((0.97, 0.99, 0.6), families=("a", "a", "b"), unit="1", bounds=(0.0, 1.0))
    free = pooled((0.97, 0.99, 0.6), families=("a", "a", "b"), unit="1")
    assert cut.families[0].value.high == 1
    assert cut.families[0].se == pytest.approx(free.families[0].se)
    assert (cut.value.value, cut.tau) == (free.value.value, free.tau)
    assert cut.model == free.model


def test_every_metric_says_what_it_can_be():
    for name, metric in METRICS.items():
        assert metric.binary <= (metric.within == (0, 1)), name
        if "cosine" in name:
            assert metric.within == (-1, 1)
    assert METRICS["source_alignment_rank"].within == (0, 1)
    assert METRICS["displacement"].within == (0, None)


def test_a_paired_difference_has_the_bounds_of_a_difference():
    compared = Comparison(
        difference=near(0.2), p=0.5, test="made", detectable=None, detectable_method="made"
    )
    told = {"key": "a.b", "label": "x", "found": compared, "against": "y"}
    assert Quantity.of(**told).within == (-1, 1)
    assert Quantity.of(**told, unit="1", bounds=(0.0, 1.0)).within == (-1, 1)
    assert Quantity.of(**told, unit="m", bounds=(0.0, None)).within == (None, None)
