"""The templates of this package, and the words they format numbers with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vlascope.report.wording import amount, bare, interval, p_value, spoken
from vlascope.sections import Section

__all__ = ["as_json", "templates", "text_of"]


@cache
def templates() -> Environment:
    """Jinja with HTML escaped, except in Markdown."""
    environment = Environment(
        loader=PackageLoader("vlascope.report", "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        amount=amount, bare=bare, interval=interval, p_value=p_value, spoken=spoken, calls=_calls
    )
    environment.filters["as_json"] = as_json
    environment.filters["of_a_recipe"] = _of_a_recipe
    environment.filters["short"] = _short
    environment.filters["code"] = _with_code
    environment.filters["breakable"] = _breakable
    return environment


def as_json(figure: dict[str, Any]) -> Markup:
    """JSON that may stand inside a script element."""
    return Markup(json.dumps(figure, separators=(",", ":")).replace("</", "<\\/"))


def text_of(name: str) -> str:
    """A style sheet or script of this package."""
    return files("vlascope.report").joinpath("templates", name).read_text("utf-8")


def _of_a_recipe(findings: Sequence[Any], section: Section) -> list[Any]:
    """The findings that a chapter's recipe asked, about the chapter's policy."""
    return [
        f
        for f in findings
        if f.answer.name.startswith(f"{section.name}_") and f.answer.policy == section.policy
    ]


def _short(value: float) -> str:
    """Three digits; whole numbers whole."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}".replace("-", "\u2212")


def _with_code(text: str) -> Markup:
    """Text made safe for HTML, with `backticked` names as code and `n = 5` kept whole."""
    whole = re.sub(r" (=|&lt;) (?=[\d.])", "\u00a0\\1\u00a0", str(escape(text)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", whole))


def _breakable(name: str) -> Markup:
    """A name that may be broken after `/` and `.`."""
    return Markup(re.sub(r"([/.])", r"\1<wbr>", str(escape(name))))


def _calls(fired: dict[int, int]) -> str:
    """`0-4: 120 each`, or every call by itself where they differ."""
    if not fired:
        return "never"
    counts = set(fired.values())
    if len(counts) == 1:
        calls = sorted(fired)
        span = f"{calls[0]}\u2013{calls[-1]}" if len(calls) > 1 else f"{calls[0]}"
        return f"{span}: {counts.pop()}" + (" each" if len(calls) > 1 else "")
    return ", ".join(f"{call}: {n}" for call, n in sorted(fired.items()))
