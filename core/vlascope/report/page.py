"""The report as one self-contained HTML page."""

from __future__ import annotations

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vlascope.report.chapters import of_a_recipe
from vlascope.report.content import ReportContent
from vlascope.report.figures import behaviour_figure, forest_figure, paths_figure
from vlascope.report.tables import EffectLine
from vlascope.report.templating import as_json, templates, text_of
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
            style=Markup(text_of("style.css")),
            script=Markup(text_of("script.js")),
            plotly=Markup(get_plotlyjs()),
            forests=[(label, as_json(figure)) for label, figure in forests],
            matrices=[(m, as_json(behaviour_figure(m))) for m in content.behaviour],
            paths=[(p, as_json(paths_figure(p))) for p in content.paths],
        )
    )


def _own(content: ReportContent) -> list[EffectLine]:
    """The effects of arms that the study wrote itself; recipes' chapters show theirs."""
    return [e for e in content.effects if not of_a_recipe(e.arm, _recipes(content))]


def _recipes(content: ReportContent) -> dict[str, Section]:
    return {section.name: section for section in content.sections}
