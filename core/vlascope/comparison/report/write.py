"""Writing a comparison's report: a page, Markdown, data, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

from vlascope.comparison.reading import read_comparison
from vlascope.comparison.report.content import ComparisonContent, content_of
from vlascope.comparison.report.latex import as_tables
from vlascope.comparison.report.page import page
from vlascope.comparison.report.printable import as_files
from vlascope.comparison.report.prose import markdown
from vlascope.comparison.report.styles import looks
from vlascope.store.durable import write_atomically

__all__ = ["write_comparison"]


def write_comparison(out: str | Path) -> Path:
    """Write a comparison's report into its directory.

    `comparison.html`, `comparison.md`, `comparison.json` (what every entry answered, and under
    `report` all that the page says), `tables/NAME.tex`, and of each figure that the page shows
    unfolded `figures/NAME.svg` and `figures/NAME.png`.

    Returns:
        The page's path.

    Raises:
        FileMissing: no comparison was run there.
        CorruptFile: a file in it is truncated or foreign.
    """
    folder = Path(out)
    result = read_comparison(folder)
    content = content_of(result)
    data = {**result.as_json(), "report": content.model_dump(mode="json")}
    _write(folder / "comparison.json", json.dumps(data, indent=1))
    _write(folder / "comparison.md", markdown(content))
    for name, text in as_tables(content).items():
        _write(folder / "tables" / f"{name}.tex", text)
    _write(folder / "comparison.html", page(content))
    _figures(folder / "figures", content)
    return folder / "comparison.html"


def _figures(folder: Path, content: ComparisonContent) -> None:
    """What the page shows unfolded; files of an earlier report that are no more are taken away."""
    seen = looks(content.families)
    named = {d.name: d for c in content.chapters for d in c.drawings if not d.folded}
    for kind in ("svg", "png"):
        for old in folder.glob(f"*.{kind}"):
            if old.stem not in named:
                old.unlink()
    for name, drawing in named.items():
        for kind, file in as_files(drawing, seen).items():
            write_atomically(folder / f"{name}.{kind}", file)


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
