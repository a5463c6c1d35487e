"""Injection between prompts of different lengths, without a word about it in the file."""

from __future__ import annotations

import pytest
import yaml

from vlascope.comparison import ComparisonFile
from vlascope.comparison.expansion import asked
from vlascope.comparison.prompt_lengths import lengths_differ
from vlascope.errors import CapabilityMissing
from vlascope.hooks import TokenSpans
from vlascope_adapters.toy.adapter import ToyAdapter

FILE = """
name: uneven
defaults: {benchmark: {name: toy}, tasks: [shared/red, shared/green], seeds: 0-1, max_steps: 4}
battery:
  crossing: {kind: injection, conditions: [cross_task], pathways: [vlm], seeds: 1}
  language: {kind: language, variants: [null]}
entries: {toy: {policy: "toy:bundled"}}
"""
PROMPTS = ("go to the red point", "go")


class Unpadded(ToyAdapter):
    """Says that its prompt is as long as what it is told."""

    def token_spans(self, observations, *, call=0):
        said = [TokenSpans.of_lengths({"instruction": len(o.instruction)}) for o in observations]
        return {**super().token_spans(observations, call=call), "vlm": tuple(said)}


class Silent(Unpadded):
    """Says nothing of its other tokens."""

    def token_spans(self, observations, *, call=0):
        return {"vlm": super().token_spans(observations, call=call)["vlm"]}


class Deaf(Unpadded):
    """Cannot be told nothing."""

    def token_spans(self, observations, *, call=0):
        if not all(o.instruction for o in observations):
            raise CapabilityMissing("it needs a prompt")
        return super().token_spans(observations, call=call)


@pytest.mark.parametrize(
    ("policy", "prompts", "differ"),
    [
        (ToyAdapter, PROMPTS, False),
        (Unpadded, PROMPTS, True),
        (Unpadded, ("go", "up"), False),
        (Silent, PROMPTS, False),
        (Deaf, ("", *PROMPTS), False),
    ],
)
def test_token_counts_differ_where_prompts_are_not_padded(policy, prompts, differ):
    assert lengths_differ(policy.tiny(), prompts) is differ


def aligned(policy, **options):
    plain = yaml.safe_load(FILE)
    plain["battery"]["crossing"] |= options
    found = asked(ComparisonFile.model_validate(plain), "toy", policy.tiny())
    assert not found.not_applicable
    edits = [edit for arm in found.study.arms.values() for edit in arm.interventions]
    return {edit["align"] for edit in edits if edit["kind"] == "inject"}


def test_spans_are_paired_where_prompts_differ_in_length():
    assert aligned(Unpadded) == {"span"}


def test_prompts_of_one_length_are_injected_coordinate_by_coordinate():
    assert aligned(ToyAdapter) == {"coordinate"}


@pytest.mark.parametrize("policy", [ToyAdapter, Unpadded])
@pytest.mark.parametrize("align", ["span", "coordinate"])
def test_what_the_file_says_holds_for_every_policy(policy, align):
    assert aligned(policy, align=align) == {align}
