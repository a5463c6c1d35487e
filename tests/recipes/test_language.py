"""The language recipe recovers when the toy policy listens: in shared scenes, and only there."""

from __future__ import annotations

import pytest

from vlascope.errors import StudyFileError
from vlascope.report import collect
from vlascope.sections import Table
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

STUDY = """
name: toy-language
policies:
  toy: {adapter: toy, checkpoint: bundled}
benchmark: {name: toy}
tasks: ["suite:unique", "suite:shared"]
seeds: 0-3
workers: 1
envs_per_worker: 8
recipes:
  words: {kind: language%s}
"""
DECISIVE = ("null", "nonsense", "wrong_task", "wrong_object", "motor_only")
HARMLESS = ("negation", "paraphrase")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "study.yaml"
    path.write_text(STUDY % "")
    return path


@pytest.fixture(scope="module")
def section(written):
    folder = written.parent / "run"
    outcome = run_study(load_study(written), folder, progress=False)
    assert outcome.ok, outcome.complaints
    (found,) = [s for s in collect(folder).sections if s.name == "words"]
    return found


@pytest.fixture(scope="module")
def rows(section):
    table = next(b for b in section.blocks if isinstance(b, Table))
    return {row[0].strip("`").removeprefix("words_"): row for row in table.rows}


def test_every_variant_the_tasks_allow_is_played(rows):
    assert set(rows) == {*DECISIVE, *HARMLESS, "source_prompt"}


@pytest.mark.parametrize("kind", DECISIVE)
def test_in_shared_scenes_it_fails_and_in_unique_ones_nothing_happens(rows, kind):
    _, shared, lost, _, unique, kept, _, interaction, _ = rows[kind]
    assert shared.estimate.value == 0
    assert lost.estimate.value == -1
    assert unique.estimate.value == 1
    assert kept.estimate.value == 0
    assert interaction.estimate.value == -1
    assert interaction.estimate.high < 0
    assert interaction.estimate.n == 24


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_the_policy_takes_for_the_same_changes_nothing(rows, section, kind):
    assert rows[kind][2].estimate.value == rows[kind][5].estimate.value == 0
    assert not any(f"words_{kind}`" in s for s in section.sentences)
    limits = [s for s in section.unresolved if f"words_{kind}`" in s]
    assert any("cannot resolve differences below" in s for s in limits)


def test_the_interaction_is_said_with_n_interval_and_p(section):
    said = [s for s in section.sentences if "`words_null`" in s and "interaction" in s]
    assert len(said) == 1
    assert "n = 24" in said[0]
    assert "\u22121.00 [" in said[0]
    assert "p = 0.00" in said[0]


def test_the_source_prompts_goal_is_reached(section):
    (said,) = [s for s in section.sentences if "that task's goal" in s]
    assert "in 1.00 [" in said
    assert "n = 12" in said


def test_every_change_is_known_to_have_arrived(section):
    table = [b for b in section.blocks if isinstance(b, Table)][1]
    for arm, _, episodes, carried, least, _ in table.rows:
        told, asked = carried.split(" of ")
        assert int(told) == int(asked) >= 2 * episodes, arm
        assert least > 0.05


def test_a_variant_that_no_task_allows_is_refused_by_name(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY % ", variants: [null, opposite]")
    with pytest.raises(StudyFileError, match=r"no task allows 'opposite'.*unique/red"):
        load_study(path)


def test_a_misspelt_variant_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY % ", variants: [negaton]")
    with pytest.raises(StudyFileError, match="negation"):
        load_study(path)
