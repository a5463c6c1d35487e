"""Expected failures, unexpected passes, selection: how results are reported."""

from __future__ import annotations

from typing import ClassVar

import pytest

from vlascope import conformance
from vlascope.errors import UnknownName
from vlascope_adapters.toy.adapter import ToyAdapter


class Deaf(ToyAdapter):
    expected_failures: ClassVar = {"instruction_reaches_the_action": "a policy without language"}

    def predict_chunk(self, observations, *, generators):
        from dataclasses import replace

        silent = [replace(o, instruction="") for o in observations]
        return super().predict_chunk(silent, generators=generators)


class Hearing(ToyAdapter):
    expected_failures: ClassVar = {"instruction_reaches_the_action": "a policy without language"}


def test_an_expected_failure_is_reported_with_its_reason():
    (result,) = conformance.check_adapter(Deaf, only=["instruction*"])
    assert result.status == "xfail"
    assert result.ok
    assert "a policy without language" in result.message


def test_an_unexpected_pass_is_reported():
    (result,) = conformance.check_adapter(Hearing, only=["instruction*"])
    assert result.status == "xpass"
    assert not result.ok
    assert "remove" in result.message


def test_expected_failures_may_be_given_instead():
    given = conformance.check_adapter(Deaf, only=["instruction*"], expected_failures={})
    assert [r.status for r in given] == ["fail"]


@pytest.mark.parametrize(
    "options", [{"only": ["pacthing"]}, {"expected_failures": {"pacthing": "x"}}]
)
def test_an_unknown_check_lists_near_matches(options):
    with pytest.raises(UnknownName, match="pacthing"):
        list(conformance.check_adapter(ToyAdapter, **options))


def test_every_check_states_its_promise():
    for check in (*conformance.ADAPTER_CHECKS, *conformance.BENCHMARK_CHECKS):
        assert check.promise.endswith("."), check.code
