"""Gives pytest the conformance checks, one test id per (adapter, check).

Costs an unrelated test run nothing: vlascope is imported only where its fixtures are asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

__all__ = [
    "pytest_addoption",
    "pytest_generate_tests",
    "vlascope_adapter_check",
    "vlascope_benchmark_check",
]

_KINDS = ("adapter", "benchmark")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--vlascope-adapter NAME` and `--vlascope-benchmark NAME`, each as often as needed."""
    group = parser.getgroup("vlascope", "vlascope conformance checks")
    for kind in _KINDS:
        group.addoption(
            f"--vlascope-{kind}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"{kind} to check (default: every registered one)",
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per (name, check) wherever a test asks for a check fixture."""
    for kind in _KINDS:
        fixture = f"vlascope_{kind}_check"
        if fixture in metafunc.fixturenames:
            pairs = [
                (name, code) for name in _names(metafunc.config, kind) for code in _codes(kind)
            ]
            ids = [f"{name}-{code}" for name, code in pairs]
            metafunc.parametrize(fixture, pairs, ids=ids, indirect=True)


@pytest.fixture
def vlascope_adapter_check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """One check of one adapter, to be called."""
    return _runner("adapter", *request.param)


@pytest.fixture
def vlascope_benchmark_check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """One check of one benchmark, to be called."""
    return _runner("benchmark", *request.param)


def _names(config: pytest.Config, kind: str) -> Sequence[str]:
    from vlascope import plugins

    registered = plugins.adapters() if kind == "adapter" else plugins.benchmarks()
    return config.getoption(f"--vlascope-{kind}") or sorted(registered)


def _codes(kind: str) -> Sequence[str]:
    from vlascope import conformance

    checks = conformance.ADAPTER_CHECKS if kind == "adapter" else conformance.BENCHMARK_CHECKS
    return [check.code for check in checks]


def _runner(kind: str, name: str, code: str) -> Callable[[], None]:
    def run() -> None:
        from vlascope import conformance
        from vlascope.conformance.results import run_check

        checks = conformance.ADAPTER_CHECKS if kind == "adapter" else conformance.BENCHMARK_CHECKS
        check = next(c for c in checks if c.code == code)
        subject = _subject(kind, name)
        expected = getattr(subject.cls, "expected_failures", {}).get(code)
        result = run_check(check, subject, expected)
        if result.status == "skip":
            pytest.skip(result.message)
        if result.status == "xfail":
            pytest.xfail(result.message)
        if not result.ok:
            pytest.fail(f"{name}: {result.promise}\n{result.message}", pytrace=False)

    return run


@functools.cache
def _subject(kind: str, name: str) -> Any:
    """Built once per run: every check leaves it as it found it."""
    from vlascope import conformance, plugins

    if kind == "adapter":
        return conformance.AdapterSubject(plugins.adapter_class(name))
    return conformance.BenchmarkSubject(plugins.benchmark_class(name))
