"""The toy policy's known answers, recovered by a study that is run like any other."""

from pathlib import Path

import pytest

from vlascope.errors import StudyFileError
from vlascope.report import collect, write_report
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

TOY = Path(__file__).parent / "toy.yaml"
SMALLER = ("seeds=0-2", "workers=1", 'arms.other_words.tasks=["suite:shared"]')

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy-study")
    outcome = run_study(load_study(TOY, SMALLER), folder, progress=False)
    assert outcome.ok, outcome.complaints
    return folder


@pytest.fixture(scope="module")
def content(run_dir):
    return collect(run_dir)


@pytest.fixture(scope="module")
def rate(content):
    """Success of an arm in a suite, which has to be all or nothing."""
    lines = {line.arm: line.by_task for line in content.successes}

    def of(arm, suite):
        found = {e.value for task, e in lines[arm].items() if task.startswith(suite)}
        assert len(found) == 1, found
        return found.pop()

    return of


def finding(content, name):
    return next(f.answer for f in content.findings if f.answer.name == name)


def test_language_is_ignored_where_one_goal_is_in_sight(rate):
    assert rate("baseline", "unique") == rate("null_prompt", "unique") == 1


def test_language_decides_where_three_goals_are_in_sight(rate):
    assert rate("baseline", "shared") == rate("other_words", "shared") == 1
    assert rate("null_prompt", "shared") == rate("wrong_prompt", "shared") == 0


def test_the_difference_between_scenes_is_resolved(content):
    (between,) = [c for c in finding(content, "language").contrasts if "unique minus" in c.label]
    assert between.difference.value == 1
    assert between.difference.resolved


def test_the_vlms_activations_restore_what_the_prompt_did(rate):
    assert rate("null_restored", "shared") == 1
    assert rate("null_restored.identity", "shared") == 0


def test_the_pathways_that_carry_the_goal_override_and_random_directions_do_not(content):
    rows = {row.arm: row for row in finding(content, "override").arms}
    for arm in ("vlm", "expert"):
        assert rows[arm].value.value == 1
        controls = {c.role: c for c in rows[arm].controls}
        assert controls["identity"].value.value == controls["no_injection"].value.value == 0
        assert controls["random_direction"].value.value == 0
        assert controls["random_direction"].comparison.difference.resolved
        assert controls["cross_prompt"].value.value == 1


def test_before_the_words_are_read_there_is_no_goal_to_inject(content):
    rows = {row.arm: row for row in finding(content, "override").arms}
    assert rows["vlm_early"].value.value == 0


def test_identity_changes_nothing_at_all(content):
    moved = {line.arm: line.values for line in content.motion}
    for arm in ("vlm.identity", "expert.identity"):
        assert moved[arm]["mean end-effector displacement"].value == pytest.approx(0, abs=1e-6)


def test_a_random_direction_moves_as_far_as_its_injection(content):
    ratios = {r.arm: r.dx_ratio_mean for r in content.receipts}
    assert ratios["vlm.random_direction"] == pytest.approx(ratios["vlm"], rel=0.2)
    assert ratios["vlm.identity"] == 0


def test_every_edit_did_what_was_declared(content):
    for receipt in content.receipts:
        assert sum(receipt.fired.values()) == receipt.expected
        assert receipt.mismatches == 0


def test_it_says_what_it_cannot_resolve(content):
    assert any("cannot resolve differences below" in line for line in content.unresolved)
    assert content.failures == ()


def test_running_again_plays_nothing(run_dir):
    before = (run_dir / "toy" / "episodes.jsonl").read_bytes()
    assert run_study(load_study(TOY, SMALLER), run_dir, progress=False).ok
    assert (run_dir / "toy" / "episodes.jsonl").read_bytes() == before


def test_a_changed_study_does_not_go_into_the_same_directory(run_dir):
    with pytest.raises(StudyFileError, match="another version of this study"):
        run_study(load_study(TOY, [*SMALLER, "max_steps=30"]), run_dir, progress=False)


def test_the_page_holds_everything(run_dir):
    page = write_report(run_dir)
    text = page.read_text()
    assert page.stat().st_size < 8e6
    assert text.count("data:image/webp") > 10
    assert "shared/red" in (run_dir / "report.md").read_text()


def test_an_arm_whose_edit_never_acts_fails_and_the_others_go_on(tmp_path):
    never = "arms.hooked={interventions: [{kind: identity, at: vlm.0.resid_post, tokens: nothing}]}"
    small = ["seeds=0", 'tasks=["unique/red"]', "workers=1", "findings={}", "groups={}", never]
    keep = ["pairings={}", "report={}"]
    drop = "arms={baseline: {}, after: {prompt: ''}}"
    study = load_study(TOY, [*keep, drop, *small])
    outcome = run_study(study, tmp_path, progress=False)
    ended = outcome.arms["toy"]
    assert ended["hooked"].status == "failed"
    assert "edited nothing" in (ended["hooked"].error or "")
    assert ended["after"].status == "ok"
    assert not outcome.ok
    assert any(f.arm == "hooked" for f in collect(tmp_path).failures)
