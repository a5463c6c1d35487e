"""The report as one self-contained HTML page."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vlascope.report.chapters import of_a_recipe
from vlascope.report.content import ReportContent
from vlascope.report.figures import behaviour_figure, forest_figure, paths_figure
from vlascope.report.tables import EffectLine
from vlascope.report.templating import templates
from vlascope.sections import Section
from vlascope.study.metrics import METRICS

__all__ = ["page"]


def page(content: ReportContent) -> str:
    """HTML with styles, scripts, pictures and data inside; makes no request."""
    forests = [
        (METRICS[metric].label, figure)
        for metric in ("success", "source_goal")
        if (figure := forest_figure(_own(content), metric)) is not None
    ]
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            content=content,
            own=[f for f in content.findings if not of_a_recipe(f.answer.name, _recipes(content))],
            metrics=METRICS,
            style=Markup(_text("style.css")),
            script=Markup(_text("script.js")),
            plotly=Markup(get_plotlyjs()),
            forests=[(label, _json(figure)) for label, figure in forests],
            matrices=[(m, _json(behaviour_figure(m))) for m in content.behaviour],
            plot=_json,
            paths=[(p, _json(paths_figure(p))) for p in content.paths],
        )
    )


def _own(content: ReportContent) -> list[EffectLine]:
    """The effects of arms that the study wrote itself; recipes' chapters show theirs."""
    return [e for e in content.effects if not of_a_recipe(e.arm, _recipes(content))]


def _recipes(content: ReportContent) -> dict[str, Section]:
    return {section.name: section for section in content.sections}


def _text(name: str) -> str:
    return files("vlascope.report").joinpath("templates", name).read_text("utf-8")


def _json(figure: dict[str, Any]) -> Markup:
    """JSON that may stand inside a script element."""
    return Markup(json.dumps(figure, separators=(",", ":")).replace("</", "<\\/"))
