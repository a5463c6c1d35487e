"""Every promise of a benchmark, and running them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vlascope.benchmark import BenchmarkEnv
from vlascope.conformance import benchmark_episodes, benchmark_pictures, listing
from vlascope.conformance.benchmark_subject import BenchmarkSubject
from vlascope.conformance.results import Check, CheckResult, run_checks

__all__ = ["BENCHMARK_CHECKS", "BenchmarkSubject", "check_benchmark"]

BENCHMARK_CHECKS: tuple[Check, ...] = tuple(
    Check(function)
    for function in (
        *benchmark_episodes.CHECKS,
        *benchmark_pictures.CHECKS,
        listing.listing_imports_no_torch,
    )
)


def check_benchmark(
    cls: type[BenchmarkEnv],
    *,
    tasks: Sequence[str] | None = None,
    only: Sequence[str] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[CheckResult]:
    """Run every check on a new environment, one result each; never stops at the first failure.

    Args:
        cls: the benchmark.
        tasks: names of tasks to play; by default the first of up to three scenes.
        only: globs of check codes; all where empty.
        expected_failures: reason by check code; by default the class's own mapping
            `expected_failures`, where it has one.

    Raises:
        UnknownName: a glob, a task or an expected failure names nothing.
    """
    expected = getattr(cls, "expected_failures", {}) if expected_failures is None else None
    subject = BenchmarkSubject(cls, tasks=tasks)
    try:
        yield from run_checks(
            BENCHMARK_CHECKS,
            subject,
            expected_failures=expected_failures or expected or {},
            only=only,
        )
    finally:
        subject.close()
