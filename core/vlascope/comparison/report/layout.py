"""This package's templates, beside those of a study's report whose parts they include."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, Template

from vlascope.report.templating import templates

__all__ = ["template"]


def template(name: str) -> Template:
    """A template by file name."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    shared = templates()
    own = PackageLoader("vlascope.comparison.report", "templates")
    loaders = [own, shared.loader] if shared.loader is not None else [own]
    found = shared.overlay(loader=ChoiceLoader(loaders))
    found.filters["flat"] = _flat
    return found


def _flat(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return text.replace("|", "/").replace("\n", " ")
