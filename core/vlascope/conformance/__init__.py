"""Does an adapter or a benchmark keep its promises? One named check per promise."""

from vlascope.conformance.adapters import ADAPTER_CHECKS, AdapterSubject, check_adapter
from vlascope.conformance.benchmarks import BENCHMARK_CHECKS, BenchmarkSubject, check_benchmark
from vlascope.conformance.results import Check, CheckResult, CheckSkipped

__all__ = [
    "ADAPTER_CHECKS",
    "BENCHMARK_CHECKS",
    "AdapterSubject",
    "BenchmarkSubject",
    "Check",
    "CheckResult",
    "CheckSkipped",
    "check_adapter",
    "check_benchmark",
]
