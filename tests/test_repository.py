"""What the repository promises about itself: layers, names, and what a wheel carries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [ROOT / p for p in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
PLUGIN_PACKAGES = {p.name for p in PACKAGES} - {"vlascope"}
SOURCES = [source for package in PACKAGES for source in sorted(package.rglob("*.py"))]
EVERYTHING = [
    path
    for folder in ("core", "adapters", "sae", "probes", "benchmarks", "tests", "perf", "tools")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
]

SIMULATORS = re.compile(
    r"meta_?world|mujoco|libero|robosuite|gym_?aloha|simpler_?env|maniskill|sapien|robocasa|calvin",
    re.IGNORECASE,
)
MODELS = re.compile(
    r"tiny_?vla|smol_?vla|open_?vla|\bpi_?0|\bpi05|gr00t|groot|x_?vla\b|\bocto\b|internvla|lerobot",
    re.IGNORECASE,
)
# The one list of libraries that must not be imported before they are used.
LIBRARIES = Path("core/vlascope/conformance/listing.py")


def relative(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths]


def imported(source: Path) -> set[str]:
    """Top-level packages that a file imports, or names in an import string of a plugin."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(re.findall(r"^(vlascope_\w+)[.:\w]*$", node.value))
    return {name.split(".")[0] for name in found}


def words(source: Path) -> Iterator[tuple[int, str]]:
    """Every identifier and every string of a file's code, with its line; no docstrings."""
    tree = ast.parse(source.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if id(node) in prose:
            continue
        for field in ("id", "attr", "name", "arg", "module", "value"):
            text = getattr(node, field, None)
            if isinstance(text, str):
                yield getattr(node, "lineno", 0), text


def naming(pattern: re.Pattern[str], *homes: str) -> list[str]:
    """Where code outside `homes` says one of the names."""
    return [
        f"{source.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for source in SOURCES
        if source.relative_to(ROOT).parts[0] not in homes and source.relative_to(ROOT) != LIBRARIES
        for line, text in words(source)
        if pattern.search(text)
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_imports_the_core_and_never_a_sibling(package):
    siblings = PLUGIN_PACKAGES - {package.name}
    for source in package.rglob("*.py"):
        wrong = imported(source) & siblings
        assert not wrong, f"{source.relative_to(ROOT)} imports {sorted(wrong)}"


def test_no_simulator_is_named_outside_benchmarks_and_the_policies_trained_in_it():
    assert naming(SIMULATORS, "benchmarks", "adapters") == []


def test_no_model_is_named_outside_adapters():
    assert naming(MODELS, "adapters") == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_says_that_it_is_typed(package):
    assert (package / "py.typed").is_file()


def test_no_file_has_a_name_that_says_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert relative([p for p in EVERYTHING if p.stem.lstrip("_") in empty]) == []


def test_every_plugin_entry_point_leads_to_a_module():
    parents = {package.name: package.parent for package in PACKAGES}
    for name, module in PROJECT["project"]["entry-points"]["vlascope"].items():
        path = parents[module.split(".")[0]] / module.replace(".", "/")
        there = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
        assert there, f"entry point {name} = {module!r} leads nowhere"


def test_the_changelog_has_a_place_for_the_next_release():
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_scripts_can_be_executed():
    for script in (ROOT / "tools" / "uv.sh", ROOT / ".ci" / "run"):
        assert script.stat().st_mode & 0o111, f"chmod +x {script}"


def test_a_wheel_carries_everything_the_packages_hold(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        carried = set(wheel.namelist())
    held = {
        str(path.relative_to(package.parent))
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }
    assert held - carried == set()
    assert any(name.endswith("licenses/LICENSE") for name in carried)
