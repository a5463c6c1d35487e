from vlascope.conformance.suite import test_adapter  # noqa: F401
