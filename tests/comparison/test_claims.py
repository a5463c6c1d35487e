"""Every published claim is a test on numbers that exist, or says why it is none."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from vlascope.comparison.claims import Claim, Test, claim, load_claims
from vlascope.errors import UnknownName
from vlascope.plugins import recipe_class

SECTIONS = {"injection", "language", "autoencoders", "general features", "concepts", "probes"}


def test_every_section_has_claims_and_every_claim_its_source():
    claims = load_claims()
    assert {c.section for c in claims} == SECTIONS
    for one in claims:
        assert one.published, one.id
        assert all("arXiv" in p.source for p in one.published), one.id


def test_what_cannot_be_tested_says_why_and_what_can_says_the_rule():
    for one in load_claims():
        assert bool(one.tests) != bool(one.cannot)
        assert (one.rule if one.tests else one.cannot).rstrip().endswith((".", ")."))


def test_a_claim_asks_a_recipe_that_exists_for_its_own_numbers():
    for one in load_claims():
        recipe_class(one.question)
        assert all(key.startswith(f"{one.question}.") for key in one.keys), one.id


def test_margins_and_bounds_that_no_paper_states_are_owned_up_to():
    for one in load_claims():
        own = any(t.within or (t.above or t.below or 0.0) not in (0.0, 0.5) for t in one.tests)
        if own and one.id != "injection.alike_without":  # 0.68 is the published figure itself
            assert "is ours" in one.rule, one.id


def test_a_misspelt_claim_names_the_nearest():
    assert claim("injection.override_strict").section == "injection"
    with pytest.raises(UnknownName, match="override_strict"):
        claim("injection.overide_strict")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"key": "a.b"}, "exactly one of above, below and within"),
        ({"key": "a.b", "above": 0, "below": 1}, "exactly one"),
        ({"key": "a.b", "within": [1, 0]}, "no inside"),
        ({"key": "a.b", "above": 0, "minus_pathway": "vlm"}, "needs `pathway`"),
    ],
)
def test_a_test_without_a_side_is_refused(written, said):
    with pytest.raises(ValidationError, match=said):
        Test.model_validate(written)


def test_a_claim_is_tested_or_says_why_not():
    about = {"id": "a.b", "section": "probes", "question": "probes", "statement": "So."}
    for more in ({}, {"tests": [{"key": "a", "above": 0}], "rule": "r", "cannot": "c"}):
        with pytest.raises(ValidationError, match="either `tests`, or `cannot`"):
            Claim.model_validate({**about, **more})


def test_no_claim_is_listed_twice():
    assert max(Counter(c.id for c in load_claims()).values()) == 1
