"""Interactions are found where they are, and no more often than promised where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from vlascope.counterfactuals.sensitivity import (
    interaction_p,
    sensitivity,
    told_apart,
)
from vlascope.recipes.language_section import judge
from vlascope.statistics import Estimate, Pair, holm, mcnemar_p

ALPHA, REPETITIONS = 0.05, 200
MOST = int(binom.ppf(0.999, REPETITIONS, ALPHA))
VARIANTS = 4


def played(rng, tasks, seeds, own, told):
    """Pairs of an arm and its baseline that succeed with these chances, independently."""
    return [
        Pair(f"t{task}", float(rng.random() < told), float(rng.random() < own))
        for task in range(tasks)
        for _ in range(seeds)
    ]


def test_a_true_interaction_is_found():
    rng = np.random.default_rng(0)
    pairs = {"shared": played(rng, 5, 10, 0.95, 0.1), "unique": played(rng, 5, 10, 0.95, 0.95)}
    (found,) = judge([sensitivity("null", pairs, binary=True)])
    interaction = found.found.interaction
    assert interaction.difference.value < -0.6
    assert interaction.unit == "tasks"
    assert told_apart(interaction.difference, found.interaction_p)
    assert told_apart(found.found.effects["shared"].difference, found.effect_p["shared"])
    assert not told_apart(found.found.effects["unique"].difference, found.effect_p["unique"])


def test_with_few_tasks_the_answer_is_about_these_tasks():
    rng = np.random.default_rng(0)
    pairs = {"shared": played(rng, 3, 8, 1, 0), "unique": played(rng, 3, 8, 1, 1)}
    found = sensitivity("null", pairs, binary=True).interaction
    assert found.unit == "episodes"
    assert found.difference.value == -1
    assert told_apart(found.difference, found.p)


def differences(pairs):
    found = {}
    for pair in pairs:
        found.setdefault(pair.task, []).append(pair.arm - pair.control)
    return found


@pytest.mark.parametrize(("tasks", "seeds"), [(3, 8), (6, 5)])
@pytest.mark.parametrize(("own", "told"), [(0.7, 0.7), (0.9, 0.4)])
def test_no_interaction_is_claimed_beyond_the_level(tasks, seeds, own, told):
    """Over all variants of a study: the family-wise rate, with effects absent and present.

    The interval, which has to leave out zero as well, is worked out only where p passes.
    """
    rng = np.random.default_rng([tasks, int(10 * told)])
    claims = 0
    for _ in range(REPETITIONS):
        data = [
            {s: played(rng, tasks, seeds, own, told) for s in ("shared", "unique")}
            for _ in range(VARIANTS)
        ]
        ps = [interaction_p(*(differences(p) for p in d.values()))[0] for d in data]
        if min(holm(ps)) <= ALPHA:
            judged = judge([sensitivity("v", d, binary=True) for d in data])
            claims += any(
                told_apart(j.found.interaction.difference, j.interaction_p, ALPHA) for j in judged
            )
    assert claims <= MOST


def test_no_effect_is_claimed_beyond_the_level():
    rng = np.random.default_rng(5)
    claims = 0
    for _ in range(REPETITIONS):
        data = [
            {s: played(rng, 4, 6, 0.7, 0.7) for s in ("shared", "unique")} for _ in range(VARIANTS)
        ]
        pairs = [differences(p) for d in data for p in d.values()]
        ps = [
            mcnemar_p(*(sum(sign * x > 0 for v in p.values() for x in v) for sign in (1, -1)))
            for p in pairs
        ]
        if min(holm(ps)) <= ALPHA:
            claims += any(
                told_apart(effect.difference, j.effect_p[structure], ALPHA)
                for j in judge([sensitivity("v", d, binary=True) for d in data])
                for structure, effect in j.found.effects.items()
            )
    assert claims <= MOST


def test_one_structure_alone_has_no_interaction():
    rng = np.random.default_rng(0)
    found = sensitivity("null", {"unique": played(rng, 3, 4, 1, 1)}, binary=True)
    assert found.interaction is None
    assert list(found.effects) == ["unique"]


def test_missing_episodes_are_missing():
    pairs = [Pair("a", None, 1.0), Pair("a", 0.0, 1.0), Pair("a", 1.0, None), Pair("b", 0.0, 1.0)]
    found = sensitivity("null", {"shared": pairs, "unique": pairs[:1]}, binary=True)
    assert found.effects["shared"].difference.n == 2
    assert found.effects["shared"].difference.missing == 2
    assert "unique" not in found.effects


def test_what_could_have_been_seen_is_said():
    rng = np.random.default_rng(1)
    pairs = {s: played(rng, 3, 10, 1, 1) for s in ("shared", "unique")}
    found = sensitivity("null", pairs, binary=True).interaction
    assert found.p == 1
    assert 0.2 < found.detectable < 0.6


def test_adjustment_is_holms():
    ps = np.random.default_rng(0).random(20).tolist()
    expected = multipletests(ps, method="holm")[1]
    np.testing.assert_allclose(holm(ps), expected)


def test_adjustment_keeps_what_was_not_tested():
    assert holm([None, 0.01, 0.02]) == [None, 0.02, 0.02]
    assert holm([None]) == [None]
    assert not told_apart(Estimate(value=1, low=0.5, high=1.5, n=3, method=""), None)
