"""The recipe, in a study of the toy policy: what is read at the soft prompt is what decides."""

import json

import pytest

from vlascope.cli.root import main
from vlascope.errors import StudyFileError
from vlascope.report import collect
from vlascope.sections import Figure, Table
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope_probes.linear.results import read_map

STUDY = """
name: toy-probes
policies:
  toy: {adapter: toy, checkpoint: bundled}
benchmark: {name: toy}
tasks: ["suite:shared"]
seeds: 0-7
workers: 1
envs_per_worker: 8
recipes:
  probes:
    kind: probes
    at: ["vlm.[01].resid_post"]
    options: {targets: [task, "hand.[xy]"], tokens: soft_prompt, folds: 3, label_controls: 3}
    remove: [task]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    (folder / "study.yaml").write_text(STUDY)
    outcome = run_study(load_study(folder / "study.yaml"), folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return folder / "run"


@pytest.fixture(scope="module")
def section(run):
    (found,) = [s for s in collect(run).sections if s.name == "probes"]
    return found


def test_the_section_has_a_map_per_pathway_and_says_where_each_target_is_read_best(section):
    (figure,) = [b for b in section.blocks if isinstance(b, Figure)]
    assert figure.plotly["data"][0]["y"] == ["task", "hand.x", "hand.y"]
    assert figure.plotly["data"][0]["z"][0][1] == 1.0
    said = next(s for s in section.sentences if s.startswith("`task` is read best"))
    assert "n = 24 episodes" in said
    assert "control" in said


def test_without_what_the_probe_reads_the_policy_no_longer_knows_its_task(section):
    table = next(b for b in section.blocks if isinstance(b, Table) and b.title == "Played without")
    (row,) = table.rows
    _, without, random, _, against_random, p = row
    assert without.estimate.value == 0
    assert random.estimate.value >= 0.25
    assert against_random.estimate.high < 0
    assert p < 0.05
    assert any("Without what probes of `task` read" in s for s in section.sentences)


def test_the_projection_test_says_that_nothing_is_left(section):
    table = next(b for b in section.blocks if isinstance(b, Table) and b.title == "Taken out")
    at_one = next(r for r in table.rows if r[1] == "`vlm.1.resid_post`")
    _, _, dimensions, before, after, random, *_ = at_one
    assert dimensions == 2
    assert before > 0.9 > 0.05 > after
    assert random > 0.8


def test_numbers_for_comparison_stand_at_relative_depths(run, read_quantities):
    found = read_quantities(run, "probes")
    task = found["probes.accuracy.task", "vlm", "", "resid_post", 1 / 3]
    assert task.value.value > 0.99
    kept = found["probes.selectivity.task", "vlm", "", "resid_post", 1 / 3]
    assert kept.value.value > 0.3
    assert kept.against.startswith("control tasks")
    assert found["probes.best_accuracy.task", "vlm", "", "resid_post", None].value == task.value
    first = found["probes.first_accuracy.task", "vlm", "", "resid_post", None]
    assert first.value == found["probes.accuracy.task", "vlm", "", "resid_post", 0.0].value
    hand = found["probes.r2.hand", "vlm", "", "resid_post", 0.0]
    assert hand.value.method.endswith("mean of 2")
    assert hand.value.low <= hand.value.value <= hand.value.high
    without = found["probes.without.task.against.random_subspace", "", "", "", None]
    assert without.value.high < 0


def test_a_target_that_nobody_probes_cannot_be_removed(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("remove: [task]", "remove: [task, tusk]"))
    outcome = run_study(load_study(tmp_path / "s.yaml"), tmp_path / "run", progress=False)
    assert not outcome.ok
    assert any("no probed target to remove is named 'tusk'" in c for c in outcome.complaints)


def test_options_are_checked_with_the_study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("folds: 3", "folds: 1"))
    with pytest.raises(StudyFileError, match="folds"):
        load_study(tmp_path / "s.yaml")


def vlascope(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_the_commands_fit_show_and_keep_directions(run, tmp_path, capsys):
    out, kept = tmp_path / "p.json", tmp_path / "d.safetensors"
    shared = ["--points", "vlm.1.resid_post", "--tokens", "soft_prompt", "--folds", "3"]
    shared += ["--arm", "baseline"]
    vlascope("probes", "fit", str(run / "toy"), *shared, "--targets", "task", "--out", str(out))
    assert read_map(out).at("vlm.1.resid_post", "task").score.value > 0.99
    capsys.readouterr()
    vlascope("probes", "map", str(out), "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert row["episodes"] == 24
    vlascope("probes", "show", str(out), "--target", "task")
    assert "n = 24 episodes, control" in capsys.readouterr().out
    store = str(run / "toy" / "activations")
    vlascope(
        "probes", "directions", store, *shared, "--target", "task", "--out", str(kept), "--json"
    )
    (removal,) = json.loads(capsys.readouterr().out)
    assert removal["dimensions"] == 2
    assert kept.exists()
