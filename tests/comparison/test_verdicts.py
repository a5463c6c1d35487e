"""Verdicts: right where effects are known, silent where nothing is, with the n that would tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from vlascope.comparison.claims import Claim
from vlascope.comparison.judging import judge
from vlascope.comparison.members import Member
from vlascope.comparison.random_effects import random_effects
from vlascope.comparison.sizes import needed
from vlascope.comparison.verdicts import POOLED, verdicts
from vlascope.statistics import Estimate, bootstrap_mean, mcnemar_p, paired_score_interval
from vlascope.study.quantity import Quantity

KEY = "language.effect.wrong_task.shared"
OWN = "language.success.own.shared"


def estimate(value, se=0.05, n=50):
    return Estimate(value=value, low=value - 1.96 * se, high=value + 1.96 * se, n=n, method="made")


def claiming(*tests, **more):
    given = {"id": "a.b", "section": "language", "question": "language", "statement": "So it is."}
    return Claim.model_validate({**given, "rule": "As said.", "tests": tests, **more})


CLAIMED = [claiming({"key": KEY, "above": 0.0})]


def member(name, value, family=None, key=KEY, own=None, **more):
    shown = [Quantity(key=key, label="effect", value=value, signed=True, **more)]
    if own is not None:
        shown.append(Quantity(key=OWN, label="own success", value=estimate(own)))
    return Member(name, family or name, tuple(shown))


def word(value, **test):
    (found, _) = verdicts([member("a", value)], [claiming({"key": KEY, **test})])
    return found.word


@pytest.mark.parametrize(
    ("value", "test", "expected"),
    [
        (0.30, {"above": 0.0}, "agrees"),
        (-0.30, {"above": 0.0}, "disagrees"),
        (0.05, {"above": 0.0}, "cannot tell"),
        (-0.80, {"below": -0.5}, "agrees"),
        (-0.30, {"below": -0.5}, "disagrees"),
        (-0.55, {"below": -0.5}, "cannot tell"),
        (0.00, {"within": [-0.2, 0.2]}, "agrees"),
        (0.15, {"within": [-0.2, 0.2]}, "cannot tell"),
        (0.25, {"within": [-0.2, 0.2]}, "cannot tell"),
        (0.50, {"within": [-0.2, 0.2]}, "disagrees"),
        (-0.50, {"within": [-0.2, 0.2]}, "disagrees"),
    ],
)
def test_known_effects_get_the_right_word(value, test, expected):
    assert word(estimate(value), **test) == expected


def test_an_interval_that_ends_on_the_bound_or_is_unknown_cannot_tell():
    assert judge(Estimate(value=0.2, low=0.0, high=0.4, n=9, method="m"), (0.0, None)) == (
        "cannot tell"
    )
    alike = Estimate(value=0.5, low=0.5, high=0.5, n=9, method="m")
    assert judge(alike, (0.0, None)) == "cannot tell"
    alone = Estimate(value=1.0, low=None, high=None, n=1, method="one value")
    assert word(alone, above=0.0) == "cannot tell"


def test_a_difference_that_is_not_there_is_seldom_agreed_with():
    """300 studies of 40 pairs without any effect: a share alpha / 2 at most on either side."""
    rng = np.random.default_rng(0)
    words = []
    for _ in range(300):
        gained, lost, _ = rng.multinomial(40, [0.25, 0.25, 0.5])
        low, high = paired_score_interval(gained, lost, 40)
        value = Estimate(value=(gained - lost) / 40, low=low, high=high, n=40, method="score")
        words.append(judge(value, (0.0, None)))
    assert words.count("agrees") <= binom.ppf(0.999, 300, 0.025)
    assert words.count("disagrees") <= binom.ppf(0.999, 300, 0.025)
    assert words.count("cannot tell") > 250


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_nor_is_a_pooled_one(tau):
    rng = np.random.default_rng(1)
    agreed = 0
    for _ in range(200):
        truths = rng.normal(0, tau, 6)
        found = random_effects(rng.normal(truths, 0.1).tolist(), [0.01] * 6)
        agreed += found.low > 0
        assert (found.p(0.0) < 0.05) == (found.low > 0 or found.high < 0)
    assert agreed <= binom.ppf(0.999, 200, 0.025)


def test_an_effect_on_the_margin_itself_is_seldom_called_equivalent():
    rng = np.random.default_rng(2)
    draws = [estimate(rng.normal(0.1, 0.02), 0.02) for _ in range(400)]
    agreed = sum(judge(e, (-0.1, 0.1)) == "agrees" for e in draws)
    assert agreed <= binom.ppf(0.999, 400, 0.025)


def test_the_n_that_would_tell_tells_four_times_in_five():
    """Draw at the n that is asked for, with the effect as observed."""
    value, se, n = 0.1, 0.08, 25
    asked = needed(value, se, n, (0.0, None))
    assert asked.n > n
    at_n = se * math.sqrt(n / asked.n)
    assert norm.sf((1.96 * at_n - value) / at_n) == pytest.approx(0.8, abs=0.01)


def test_the_n_for_an_equivalence_minds_both_margins():
    middle, aside = (needed(v, 0.3, 20, (-0.2, 0.2)).n for v in (0.0, 0.15))
    assert aside > middle > needed(0.0, 0.3, 20, (-0.2, None)).n


def test_no_n_would_tell_an_effect_that_lies_on_the_bound():
    found = needed(0.5, 0.1, 20, (0.5, None))
    assert found.never
    assert found.n is None
    assert "no number would tell" in found.told
    huge = needed(0.500001, 0.5, 20, (0.5, None))
    assert not huge.never
    assert "more than 1,000,000" in huge.told


def test_few_architectures_need_more_than_the_normal_law_says():
    few = needed(0.3, 0.2, 3, (0.0, None), unit="architectures", small=True)
    assert few.n > needed(0.3, 0.2, 3, (0.0, None)).n
    assert "architectures" in few.told


def test_cannot_tell_says_the_n_that_would_and_nothing_else_does():
    claim = claiming({"key": KEY, "above": 0.0})
    unsure, sure = member("a", estimate(0.08)), member("b", estimate(0.5))
    found = {v.subject: v for v in verdicts([unsure, sure], [claim])}
    assert found["a"].needed.n > 50
    assert f"about {found['a'].needed.n} episodes" in found["a"].why
    assert found["b"].needed is None


def test_all_tests_of_a_claim_must_agree_and_one_is_enough_against():
    other = "language.effect.null.shared"
    claim = claiming({"key": KEY, "below": 0.0}, {"key": other, "below": 0.0})
    first = Quantity(key=KEY, label="x", value=estimate(-0.5), signed=True, p=0.01)
    for value, expected in ((-0.4, "agrees"), (0.02, "cannot tell"), (0.4, "disagrees")):
        second = Quantity(key=other, label="y", value=estimate(value), signed=True, p=0.04)
        (found, _) = verdicts([Member("a", "a", (first, second))], [claim])
        assert found.word == expected
        assert found.p == 0.04
        assert [t.word for t in found.tested] == ["agrees", expected]


def test_an_interval_that_the_test_does_not_bear_out_tells_nothing():
    claim = claiming({"key": KEY, "above": 0.0})
    (found, _) = verdicts([member("a", estimate(0.2), p=0.08)], [claim])
    assert found.word == "cannot tell"
    assert "the test does not (p = 0.080" in found.why


def test_few_tasks_do_not_make_claims_agree_with_nothing():
    """Six tasks of five pairs, no effect: the bootstrap over tasks, borne out by the sign test."""
    rng = np.random.default_rng(4)
    agreed = 0
    for _ in range(300):
        drawn = rng.choice([-1.0, 0.0, 1.0], size=(6, 5), p=[0.25, 0.5, 0.25])
        interval = bootstrap_mean({str(i): row for i, row in enumerate(drawn)}, resamples=800)
        if interval.low is not None and interval.low > 0:
            p = mcnemar_p(int((drawn > 0).sum()), int((drawn < 0).sum()))
            agreed += verdicts([member("a", interval, p=p)], CLAIMED)[0].word == "agrees"
    assert agreed <= binom.ppf(0.999, 300, 0.025)


def test_a_policy_with_nothing_to_lose_says_nothing_and_is_not_pooled():
    needs = [{"key": OWN, "at_least": 0.6, "why": "too little success to lose"}]
    claim = claiming({"key": KEY, "below": -0.5}, needs=needs)
    able = [member(n, estimate(v), own=0.9) for n, v in zip("abef", (-0.8, -0.82) * 2, strict=True)]
    weak, silent = member("c", estimate(0.0), own=0.1), member("d", estimate(0.0))
    found = {v.subject: v for v in verdicts([*able, weak, silent], [claim])}
    assert found["c"].word == found["d"].word == "not applicable"
    assert found["c"].why == "own success is 0.10, below 0.6: too little success to lose"
    assert "was not measured" in found["d"].why
    assert found[POOLED].word == "agrees"
    assert found[POOLED].tested[0].value.n == 4
    assert [f.family for f in found[POOLED].pooled[0].families] == ["a", "b", "e", "f"]


def test_every_pathway_is_judged_by_itself_and_missing_ones_say_why():
    claim = claiming({"key": KEY, "above": 0.0})
    both = Member(
        "a",
        "a",
        tuple(
            Quantity(key=KEY, label="x", value=estimate(v), signed=True, pathway=p)
            for p, v in (("vlm", 0.5), ("expert", -0.5))
        ),
    )
    none = member("b", None, why_not="no such pathway")
    found = verdicts([both, none], [claim])
    assert [(v.subject, v.pathway, v.word) for v in found[:2]] == [
        ("a", "vlm", "agrees"),
        ("a", "expert", "disagrees"),
    ]
    assert found[2].why == "no such pathway"


def test_one_pathway_beside_another_in_the_same_policy():
    claim = claiming({"key": KEY, "pathway": "expert", "minus_pathway": "vlm", "above": 0.0})
    members = [
        Member(
            name,
            name,
            tuple(
                Quantity(key=KEY, label="x", value=estimate(v), pathway=p)
                for p, v in (("vlm", 0.1), ("expert", 0.4))[:have]
            ),
        )
        for name, have in (("a", 2), ("b", 2), ("d", 2), ("e", 2), ("c", 1))
    ]
    found = {v.subject: v for v in verdicts(members, [claim])}
    assert found["a"].word == "agrees"
    assert found["a"].tested[0].value.value == pytest.approx(0.3)
    assert found["a"].tested[0].signed
    assert found[POOLED].word == "agrees"
    assert found["c"].word == "not applicable"


def test_a_contrast_is_between_the_two_entries_named_and_no_others():
    claim = claiming({"key": KEY, "contrast": "many_minus_few", "above": 0.0})
    members = [member("few", estimate(0.1)), member("many", estimate(0.6))]
    (found,) = verdicts(members, [claim], {"many_minus_few": ("many", "few")})
    assert (found.subject, found.kind, found.word) == ("many_minus_few", "contrast", "agrees")
    assert found.tested[0].value.value == pytest.approx(0.5)
    (missing,) = verdicts(members, [claim])
    assert missing.word == "not applicable"
    assert "no pair of entries" in missing.why


def test_structure_against_architecture_compares_an_effect_with_a_spread():
    interaction = "language.interaction.wrong_task"
    claim = claiming({"key": interaction, "spread_of": KEY, "above": 0.0})

    def members(effects):
        return [
            Member(
                str(i),
                str(i),
                (
                    Quantity(key=interaction, label="i", value=estimate(-0.8, 0.03), signed=True),
                    Quantity(key=KEY, label="e", value=estimate(e, 0.03), signed=True),
                ),
            )
            for i, e in enumerate(effects)
        ]

    (alike,) = verdicts(members([-0.8] * 8), [claim])
    assert alike.word == "agrees"
    assert alike.tested[0].value.value == pytest.approx(0.8, abs=0.01)
    (apart,) = verdicts(members([-9, 9, -8, 8, -9, 9, 8, -8]), [claim])
    assert apart.word == "disagrees"


def test_p_values_are_adjusted_over_all_claims_of_one_subject():
    keys = [f"language.interaction.{v}" for v in ("null", "wrong_task", "nonsense")]
    claims = [claiming({"key": k, "below": 0.0}, id=f"a.{i}") for i, k in enumerate(keys)]
    shown = tuple(
        Quantity(key=k, label=k, value=estimate(-0.5), signed=True, p=p)
        for k, p in zip(keys, (0.01, 0.02, 0.5), strict=True)
    )
    found = [v for v in verdicts([Member("a", "a", shown)], claims) if v.subject == "a"]
    assert [v.p_adjusted for v in found] == pytest.approx([0.03, 0.04, 0.5])


def test_seeds_of_one_architecture_are_no_pooled_evidence():
    claim = claiming({"key": KEY, "above": 0.0})
    seeds = [member(n, estimate(0.5), "one") for n in ("a", "b", "c")]
    assert verdicts(seeds, [claim])[-1].word == "not applicable"
