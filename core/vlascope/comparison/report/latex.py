"""Tables for papers: booktabs, one file per question, the findings, the matrix, the entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vlascope.comparison.report.chapters import Chapter
from vlascope.comparison.report.content import ComparisonContent
from vlascope.comparison.report.matrix import MatrixCell
from vlascope.comparison.report.saying import file_name
from vlascope.report.wording import interval, p_value
from vlascope.statistics import Estimate

__all__ = ["as_tables", "escaped"]

_SPECIAL: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "\u2212": "$-$", "\u2190": r"$\leftarrow$", "\u2192": r"$\rightarrow$", "\u0394": r"$\Delta$",
    "\u2016": r"$\Vert$", "\u2265": r"$\ge$", "\u2264": r"$\le$", "\u00b2": r"$^2$",
    "\u03c4": r"$\tau$", "\u03c0": r"$\pi$", "\u2080": r"$_0$", "\u00d7": r"$\times$",
    "\u201c": "``", "\u201d": "''", "\u2019": "'", "\u00b7": r"$\cdot$", "\u2013": "--",
    "\u0060": "`",
}  # fmt: skip


def as_tables(content: ComparisonContent) -> dict[str, str]:
    """LaTeX by file name without its ending; each needs `booktabs` and `longtable`."""
    found = {
        "findings": _table(
            "lp{0.34\\textwidth}p{0.5\\textwidth}",
            ("verdict", "claim", "found"),
            [
                (f.word, f.statement, " ".join(f.sentences))
                for f in content.findings
                if f.word != "not applicable"
            ],
        ),
        "matrix": _table(
            "l" + "p{0.16\\textwidth}" * len(content.questions),
            ("entry", *content.questions.values()),
            [(row.entry, *(_cell(c) for c in row.cells)) for row in content.matrix],
        ),
        "entries": _entries(content),
    }
    for chapter in content.chapters:
        found[file_name(chapter.question)] = _table(
            "p{0.42\\textwidth}lp{0.3\\textwidth}ll",
            ("what", "entry", "estimate [95\\% interval], n", "against", "p"),
            list(_numbers(chapter)),
        )
    return found


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace("`", ""))


def _cell(cell: MatrixCell) -> str:
    if cell.value is None:
        return cell.reason
    verdict = f" ({cell.verdict})" if cell.verdict else ""
    return f"{cell.label}: {_told(cell.value, cell.unit, signed=cell.signed)}{verdict}"


def _numbers(chapter: Chapter) -> Iterator[Sequence[str]]:
    for row in chapter.rows:
        title = row.title
        for entry, q in row.numbers.items():
            if q.value is None or q.value.value is None:
                yield title, entry, q.why_not or "not measured", "", ""
            else:
                told = _told(q.value, q.unit, signed=q.signed)
                yield title, entry, told, q.against, "" if q.p is None else p_value(q.p)
            title = ""
        if row.pooled is not None:
            found = row.pooled
            told = _told(found.value, found.unit, signed=found.signed)
            yield title, "pooled", f"{told} architectures", found.against, ""


def _told(found: Estimate, unit: str, *, signed: bool) -> str:
    text = interval(found, unit, signed=signed)
    return text if found.low is not None else f"{text}, no interval"


def _entries(content: ComparisonContent) -> str:
    rows = [
        (
            e.entry,
            e.family,
            e.network,
            "" if e.parameters is None else f"{e.parameters:,}",
            "; ".join(e.pathways),
            e.benchmark,
            "" if e.episodes is None else f"{e.episodes:,}",
            "" if e.seconds is None else f"{e.seconds:,.0f}",
        )
        for e in content.entries
    ]
    heads = (
        "entry", "family", "network", "parameters", "pathways", "benchmark", "episodes", "seconds",
    )  # fmt: skip
    return _table("lllrp{0.3\\textwidth}lrr", heads, rows)


def _table(form: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that may go over pages."""
    head = " & ".join(h if "\\%" in h else escaped(h) for h in heads)
    lines = [" & ".join(escaped(value) for value in row) + r" \\" for row in rows]
    top = [rf"\begin{{longtable}}{{{form}}}", r"\toprule", rf"{head} \\", r"\midrule", r"\endhead"]
    return "\n".join([*top, *lines, r"\bottomrule", r"\end{longtable}", ""])
