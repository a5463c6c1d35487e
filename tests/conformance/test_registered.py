"""Everything registered keeps its promises; one test id per (name, check)."""

from __future__ import annotations

import importlib.util

import pytest

from vlascope import conformance, plugins
from vlascope.conformance.results import run_check

SIMULATORS = {
    "aloha": "gym_aloha",
    "libero": "libero",
    "metaworld": "metaworld",
    "simpler": "mani_skill",
}
SLOW = SIMULATORS.keys() - {"aloha"}
ADAPTERS = sorted(plugins.adapters())
BENCHMARKS = [
    pytest.param(
        name,
        marks=[
            *([pytest.mark.sim] if name in SIMULATORS else []),
            *([pytest.mark.slow] if name in SLOW else []),
        ],
    )
    for name in sorted(plugins.benchmarks())
]


@pytest.fixture(scope="module")
def subjects():
    built: dict[tuple[str, str], object] = {}
    yield built
    for (kind, _), subject in built.items():
        if kind == "benchmark":
            subject.close()


def judge(check, subject):
    expected = getattr(subject.cls, "expected_failures", {}).get(check.code)
    result = run_check(check, subject, expected)
    if result.status == "skip":
        pytest.skip(result.message)
    if result.status == "xfail":
        pytest.xfail(result.message)
    assert result.ok, result.message


@pytest.mark.parametrize("check", conformance.ADAPTER_CHECKS, ids=lambda c: c.code)
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_keeps_its_promise(name, check, subjects):
    key = ("adapter", name)
    if key not in subjects:
        try:
            subjects[key] = conformance.AdapterSubject(plugins.adapter_class(name))
        except plugins.PluginTargetError as error:
            if "pip install" not in str(error):  # it is not an extra that is missing
                raise
            pytest.skip(str(error))
    judge(check, subjects[key])


@pytest.mark.parametrize("check", conformance.BENCHMARK_CHECKS, ids=lambda c: c.code)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_keeps_its_promise(name, check, subjects):
    needed = SIMULATORS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    key = ("benchmark", name)
    if key not in subjects:
        subjects[key] = conformance.BenchmarkSubject(plugins.benchmark_class(name))
    judge(check, subjects[key])
