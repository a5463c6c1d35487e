"""A recipe adds arms to a study, an analysis finds their edits between them, a chapter tells it."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from vlascope import plugins
from vlascope.errors import StudyFileError
from vlascope.report import collect, write_report
from vlascope.rollout.ledger import read_episodes
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

PLUGIN = str(Path(__file__).parent / "plugin")
STUDY = {
    "name": "recipes",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["suite:shared"],
    "seeds": "0-1",
    "workers": 1,
    "recipes": {"lost": {"kind": "mean_removed"}},
}


@pytest.fixture(scope="module", autouse=True)
def third_party():
    sys.path.insert(0, PLUGIN)
    plugins.reload()
    yield
    sys.path.remove(PLUGIN)
    plugins.reload()


@pytest.fixture
def study(tmp_path):
    def loaded(**changes):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**STUDY, **changes}))
        return load_study(path)

    return loaded


def lost(**options):
    return {"lost": {"kind": "mean_removed", **options}}


def test_a_recipe_alone_makes_a_whole_study(study):
    found = study()
    assert list(found.arms) == ["baseline", "lost_removed"]
    assert found.arms["baseline"].record == ("expert.1.mlp_out",)
    assert list(found.findings) == ["lost_needed"]


@pytest.mark.parametrize(
    ("recipes", "complaint"),
    [
        ({"lost": {"kind": "mean_remove"}}, "did you mean 'mean_removed'"),
        ({"lost": {}}, "needs `kind`"),
        (lost(att="x"), "att"),
        (lost() | {"lost_removed": {"kind": "mean_removed"}}, ""),
    ],
)
def test_what_does_not_fit_is_refused_at_its_line(study, recipes, complaint):
    if not complaint:
        assert "lost_removed_removed" in study(recipes=recipes).arms
        return
    with pytest.raises(StudyFileError, match=complaint) as refused:
        study(recipes=recipes)
    assert "study.yaml:" in str(refused.value)


def test_a_recipe_that_does_not_fit_the_study_says_why(study):
    with pytest.raises(StudyFileError, match="needs two tasks"):
        study(tasks=["shared/red"])


def test_an_edit_is_asked_of_an_analysis_that_exists(study):
    edit = {"kind": "from_analysis", "analysis": "lost_men", "key": "remove"}
    arm = {"interventions": [edit], "controls": {"identity": "auto", "random_direction": "auto"}}
    with pytest.raises(StudyFileError, match="did you mean 'lost_mean'"):
        study(arms={"baseline": {}, "mine": arm})


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    study = load_study(folder / "study.yaml")
    outcome = run_study(study, folder / "run", progress=False)
    return folder / "run", study, outcome


def test_every_arm_and_analysis_finishes(played):
    _, _, outcome = played
    assert outcome.ok, outcome.complaints
    assert list(outcome.arms["toy"]) == [
        "baseline",
        "analysis:lost_mean",
        "lost_removed",
        "lost_removed.identity",
        "lost_removed.random_direction",
    ]


def test_the_edit_is_what_the_analysis_found(played):
    run_dir, _, _ = played
    kinds = {r.plan.arm: [x.kind for x in r.receipts] for r in read_episodes(run_dir / "toy")}
    assert kinds["lost_removed"] == ["project_out"]
    assert kinds["lost_removed.identity"] == ["identity"]
    assert kinds["lost_removed.random_direction"] == ["random_direction"]


def test_an_analysis_is_done_once_for_the_same_episodes(played):
    import trick_recipes

    run_dir, study, _ = played
    before = len(trick_recipes.RUNS)
    assert run_study(study, run_dir, progress=False).ok
    assert len(trick_recipes.RUNS) == before


def test_the_report_has_the_recipes_chapter(played):
    run_dir, _, _ = played
    page = write_report(run_dir).read_text()
    (section,) = collect(run_dir).sections
    assert section.title == "Without the mean"
    assert '<section id="lost-toy">' in page
    assert "what was <code>found</code>" in page
    assert "| removed | 0" in (run_dir / "report.md").read_text()
    assert json.loads((run_dir / "report.json").read_text())["sections"][0]["name"] == "lost"


def test_arms_that_wait_for_a_failed_analysis_are_skipped(study, tmp_path):
    failing = study(recipes=lost(fail=True), seeds="0")
    outcome = run_study(failing, tmp_path / "run", progress=False, say=lambda _: None)
    arms = outcome.arms["toy"]
    assert arms["baseline"].status == "ok"
    assert "told to fail" in (arms["analysis:lost_mean"].error or "")
    assert arms["lost_removed"].status == "skipped"
    assert "analysis:lost_mean" in (arms["lost_removed"].error or "")


def test_an_edit_the_analysis_did_not_find_is_named(study, tmp_path):
    wanting = study(recipes=lost(key="remov"), seeds="0")
    outcome = run_study(wanting, tmp_path / "run", progress=False, say=lambda _: None)
    assert "did you mean 'remove'" in (outcome.arms["toy"]["lost_removed"].error or "")
