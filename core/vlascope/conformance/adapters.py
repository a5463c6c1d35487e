"""Every promise of an adapter, and running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from vlascope.adapter import VLAAdapter
from vlascope.conformance import (
    adapter_acting,
    adapter_capabilities,
    adapter_editing,
    adapter_looking,
    adapter_patching,
    listing,
)
from vlascope.conformance.adapter_subject import AdapterSubject
from vlascope.conformance.results import Check, CheckResult, run_checks

__all__ = ["ADAPTER_CHECKS", "AdapterSubject", "check_adapter"]

ADAPTER_CHECKS: tuple[Check, ...] = tuple(
    Check(function)
    for function in (
        *adapter_acting.CHECKS,
        *adapter_looking.CHECKS,
        *adapter_editing.CHECKS,
        *adapter_patching.CHECKS,
        *adapter_capabilities.CHECKS,
        listing.listing_imports_no_torch,
    )
)


def check_adapter(
    cls: type[VLAAdapter],
    *,
    only: Sequence[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    make: Callable[[], VLAAdapter] | None = None,
) -> Iterator[CheckResult]:
    """Run every check on one policy, one result each; never stops at the first failure.

    Args:
        cls: the adapter.
        only: globs of check codes; all where empty.
        expected_failures: reason by check code; by default the class's own mapping
            `expected_failures`, where it has one.
        make: gives the policy to check; by default the tiny one.

    Raises:
        UnknownName: a glob or an expected failure names no check.
    """
    expected = getattr(cls, "expected_failures", {}) if expected_failures is None else None
    yield from run_checks(
        ADAPTER_CHECKS,
        AdapterSubject(cls, make),
        expected_failures=expected_failures or expected or {},
        only=only,
    )
