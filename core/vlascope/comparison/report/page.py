"""The comparison as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vlascope.comparison.report.content import ComparisonContent
from vlascope.comparison.report.findings import heterogeneity
from vlascope.comparison.report.interactive import interactive
from vlascope.comparison.report.layout import template
from vlascope.comparison.report.marks import control_marks, mark
from vlascope.comparison.report.reproducing import METHODS, commands
from vlascope.comparison.report.styles import looks
from vlascope.report.templating import text_of

__all__ = ["columns", "facts", "page", "tally"]

MOST_ON_PAGE_ONE = 9
"""Claims that stand open; the rest follow folded."""


def page(content: ComparisonContent) -> str:
    """HTML with styles, scripts, pictures and data inside; makes no request."""
    seen = looks(content.families)
    drawings = [d for chapter in content.chapters for d in chapter.drawings]
    own = files("vlascope.comparison.report").joinpath("templates", "comparison.css")
    return template("comparison.html.j2").render(
        content=content,
        facts=facts(content),
        heterogeneity=heterogeneity,
        most=MOST_ON_PAGE_ONE,
        told=[f for f in content.findings if f.word != "not applicable"],
        untold=[f for f in content.findings if f.word == "not applicable"],
        tally=tally(content),
        marks={entry: mark(look) for entry, look in seen.items()},
        control_marks={d.name: control_marks(d) for d in drawings if d.type == "forest"},
        panels={d.name: interactive(d, seen) for d in drawings},
        columns={c.question: columns(content, c.question) for c in content.chapters},
        methods=METHODS,
        commands=commands(content),
        style=Markup(text_of("style.css") + own.read_text("utf-8")),
        script=Markup(text_of("script.js")),
        plotly=Markup(get_plotlyjs()),
    )


def facts(content: ComparisonContent) -> dict[str, str]:
    """What the page is headed with."""
    played = sum(e.episodes or 0 for e in content.entries)
    seconds = sum(e.seconds or 0.0 for e in content.entries)
    return {
        "entries": str(len(content.entries)),
        "architectures": str(len(set(content.families.values()))),
        "benchmarks": ", ".join(sorted({e.benchmark for e in content.entries if e.benchmark})),
        "questions": str(len(content.questions)),
        "episodes": f"{played:,}",
        "time played": f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.0f} min",
    }


def tally(content: ComparisonContent) -> str:
    """How many claims fared how."""
    counts = Counter(str(f.word) for f in content.findings)
    words = {
        "agrees": ("claim agrees", "claims agree"),
        "disagrees": ("disagrees", "disagree"),
        "mixed": ("agrees with some and not with others", "agree with some and not with others"),
        "cannot tell": ("cannot be told at this n", "cannot be told at this n"),
    }
    parts = [f"{n} {w[n != 1]}" for v, w in words.items() if (n := counts[v])]
    return f"{', '.join(parts)}." if parts else ""


def columns(content: ComparisonContent, question: str) -> tuple[str, ...]:
    """Entries with any number in a chapter."""
    chapter = next(c for c in content.chapters if c.question == question)
    having = {entry for row in chapter.rows for entry in row.numbers}
    return tuple(entry for entry in content.families if entry in having)
