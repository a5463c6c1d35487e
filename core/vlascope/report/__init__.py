"""Reports: what a finished study found, as one HTML page, Markdown and JSON."""

from vlascope.report.content import ReportContent, collect
from vlascope.report.write import write_report

__all__ = ["ReportContent", "collect", "write_report"]
