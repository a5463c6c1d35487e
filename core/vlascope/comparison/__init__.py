"""Comparisons: one battery of questions put to many policies, and what each of them answered."""

from vlascope.comparison.reading import ComparisonResult, EntryResult, read_comparison
from vlascope.comparison.schema import ComparisonFile, Entry

__all__ = ["ComparisonFile", "ComparisonResult", "Entry", "EntryResult", "read_comparison"]
