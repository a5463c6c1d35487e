"""Writing the report's three files."""

from __future__ import annotations

from pathlib import Path

from vlascope.report.content import collect
from vlascope.report.page import page
from vlascope.report.prose import markdown
from vlascope.store.durable import write_atomically

__all__ = ["write_report"]


def write_report(run_dir: str | Path) -> Path:
    """Write `report.html`, `report.md` and `report.json` into a run directory.

    Returns:
        The page's path.

    Raises:
        FileMissing: no study was run there.
        CorruptFile: a file in it is truncated or foreign.
    """
    folder = Path(run_dir)
    content = collect(folder)
    write_atomically(folder / "report.json", content.model_dump_json(indent=1).encode())
    write_atomically(folder / "report.md", markdown(content).encode())
    write_atomically(folder / "report.html", page(content).encode())
    return folder / "report.html"
