"""The report as Markdown."""

from __future__ import annotations

from vlascope.report.content import ReportContent
from vlascope.report.templating import templates
from vlascope.study.metrics import METRICS

__all__ = ["markdown"]


def markdown(content: ReportContent) -> str:
    """Text for a pull request or a terminal: findings, tables, receipts, limits, provenance."""
    template = templates().get_template("report.md.j2")
    return template.render(content=content, metrics=METRICS)
