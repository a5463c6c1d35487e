"""The conformance checks as pytest tests.

A whole test module of a third party is one line:

    from vlascope.conformance.suite import test_adapter  # noqa: F401

with `--vlascope-adapter NAME` in its pytest `addopts`; without, every registered one is checked.
"""

from __future__ import annotations

from typing import Any

__all__ = ["test_adapter", "test_benchmark"]


def test_adapter(vlascope_adapter_check: Any) -> None:
    """An adapter keeps one promise."""
    vlascope_adapter_check()


def test_benchmark(vlascope_benchmark_check: Any) -> None:
    """A benchmark keeps one promise."""
    vlascope_benchmark_check()
