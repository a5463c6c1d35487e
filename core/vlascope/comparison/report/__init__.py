"""The report of a comparison: findings, a matrix, a chapter per question, and files for papers."""

from vlascope.comparison.report.content import ComparisonContent, collect
from vlascope.comparison.report.write import write_comparison

__all__ = ["ComparisonContent", "collect", "write_comparison"]
