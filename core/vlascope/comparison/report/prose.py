"""The comparison as Markdown."""

from __future__ import annotations

from vlascope.comparison.report.content import ComparisonContent
from vlascope.comparison.report.findings import heterogeneity
from vlascope.comparison.report.layout import template
from vlascope.comparison.report.page import columns, facts, tally
from vlascope.comparison.report.reproducing import METHODS, commands

__all__ = ["markdown"]


def markdown(content: ComparisonContent) -> str:
    """Text for a pull request or a terminal, with every number that the page has."""
    return template("comparison.md.j2").render(
        content=content,
        facts=facts(content),
        tally=tally(content),
        columns={c.question: columns(content, c.question) for c in content.chapters},
        heterogeneity=heterogeneity,
        methods=METHODS,
        commands=commands(content),
    )
