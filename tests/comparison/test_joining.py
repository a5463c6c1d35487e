"""A new architecture joins a comparison by one line of the file, and gets its column."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from vlascope import plugins
from vlascope.comparison import read_comparison
from vlascope.comparison.loading import load_comparison
from vlascope.comparison.report import write_comparison
from vlascope.comparison.running import prepare, run_comparison

pytestmark = pytest.mark.slow

TEMPLATE = Path(__file__).resolve().parents[2] / "adapters" / "template"

FILE = """
name: joined
defaults: {benchmark: {name: toy}, tasks: [shared/red, shared/green], seeds: 0, max_steps: 4,
           workers: 1}
battery:
  language: {kind: language, variants: [null]}
  crossing: {kind: injection, conditions: [cross_task], seeds: 1}
  ablation: {kind: ablation, sites: [resid_post], methods: [zero], seeds: 1}
entries:
  toy: {policy: "toy:bundled"}
"""
LINE = '  mine: {policy: "my_policy:tiny"}\n'


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of the template, as it is when pip has installed it."""
    import_module("vlascope_adapters")  # found in its own place before the template's is added
    about = tmp_path / "vlascope_my_policy-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vlascope-my-policy\nVersion: 0.1\n"
    )
    (about / "entry_points.txt").write_text("[vlascope]\nmy_policy = vlascope_my_policy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(TEMPLATE))
    plugins.reload()
    yield
    monkeypatch.undo()
    for name in [n for n in sys.modules if n.startswith("vlascope_my_policy")]:
        del sys.modules[name]
    plugins.reload()


def column(folder, text, name):
    path = folder / "joined.yaml"
    path.write_text(text)
    file = load_comparison(path)
    silent = {"progress": False, "tell": lambda line: None, "say": lambda line: None}
    ended = run_comparison(file, folder / "run", prepare(file), **silent)
    assert ended.ok, ended
    return read_comparison(folder / "run").entry(name)


def test_one_line_of_the_file_gives_it_its_column(installed, tmp_path):
    toy = column(tmp_path, FILE, "toy")
    mine = column(tmp_path, FILE + LINE, "mine")
    assert mine.status == "finished"
    assert [(p.name, p.n_layers) for p in mine.facts.policy.pathways] == [("vlm", 2), ("expert", 2)]
    assert set(mine.sections) == {"language", "crossing", "ablation"}
    assert {q.key for q in mine.every_quantity} & {q.key for q in toy.every_quantity}
    assert "crossing_cross_task_expert" in mine.outcomes

    page = write_comparison(tmp_path / "run").read_text()
    assert "my_policy" in page
    assert "mine" in page
