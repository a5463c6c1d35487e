"""The documentation does what it says: its Python runs, its make targets exist, it builds."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SIMULATORS = ("aloha", "libero", "metaworld", "simpler")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(
    r"(?:^<!-- not run(?P<reason>.*?)-->\n)?"
    r"^(?P<indent> *)```python(?P<rest>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One piece of Python on a page; `reason` says why it is not run, None where it is."""

    line: int
    code: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        assert not match["rest"].strip(), (
            f"{page}:{line}: a Python fence takes no options; a block that cannot run has the "
            "line `<!-- not run: why -->` right above it"
        )
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        reason = None if match["reason"] is None else match["reason"].strip(" :")
        assert reason != "", f"{page}:{line}: say why it is not run: `<!-- not run: why -->`"
        found.append(Block(line, code, reason))
    return found


def pages_with_python() -> list[object]:
    """Every page that has Python to run, those that use a simulator marked `sim`."""
    params = []
    for page in PAGES:
        run = [b for b in blocks(page) if b.reason is None]
        code = "".join(block.code.lower() for block in run)
        marks = [pytest.mark.sim] if any(name in code for name in SIMULATORS) else []
        if run:
            params.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return params


@pytest.mark.parametrize("page", pages_with_python())
def test_the_python_on_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__docs__"}
    for block in blocks(page):
        if block.reason is None:
            # Line numbers of a traceback are those of the page.
            source = "\n" * block.line + block.code
            exec(compile(source, str(page), "exec", dont_inherit=True), names)


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text()))
        assert named <= targets, f"{page.relative_to(ROOT)} names {sorted(named - targets)}"


def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the docs group")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(
        [*command, "--site-dir", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "index.html").exists()
