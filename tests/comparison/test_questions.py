"""One question of a comparison played by itself, and the others later."""

from __future__ import annotations

import json

import pytest
import yaml

from vlascope.comparison import ComparisonFile, read_comparison
from vlascope.comparison.running import prepare, run_comparison
from vlascope.errors import UnknownName
from vlascope.rollout import read_episodes

pytestmark = pytest.mark.slow

FILE = """
name: parted
defaults: {benchmark: {name: toy}, tasks: [shared/red, shared/green], seeds: 0, max_steps: 4,
           workers: 1}
battery:
  crossing: {kind: injection, conditions: [cross_task], pathways: [vlm], seeds: 1}
  crossing_null: {kind: injection, conditions: [null_prompt], pathways: [vlm], seeds: 1}
  ablation: {kind: ablation, layers: [expert.0], sites: [resid_post], methods: [mean], seeds: 1}
entries:
  toy: {policy: "toy:bundled"}
  lone: {policy: "toy:bundled", tasks: [unique/red]}
"""


def file():
    return ComparisonFile.model_validate(yaml.safe_load(FILE))


def play(folder, *questions, entries=("toy",)):
    """The lines that it told."""
    lines = []
    silent = {"progress": False, "tell": lines.append, "say": lines.append}
    ended = run_comparison(file(), folder, prepare(file(), entries, questions), **silent)
    assert ended.ok, lines
    return lines


def played(folder, entry="toy"):
    return [record.plan.arm for record in read_episodes(folder / entry / entry)]


def log(folder):
    return (folder / "toy" / "toy" / "log.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    play(folder)
    return folder


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    """The directory, and what was there after the first question."""
    folder = tmp_path_factory.mktemp("parted")
    play(folder, "crossing")
    first = read_comparison(folder).entry("toy"), played(folder), log(folder)
    play(folder)
    return folder, *first


def test_only_the_question_and_what_it_needs_is_played(parted):
    _, toy, arms, _ = parted
    assert "crossing_cross_task_vlm.random_direction" in arms
    assert {a for a in arms if not a.startswith("crossing_")} == {"baseline", "baseline.source"}
    assert not [a for a in arms if a.startswith("crossing_null")]
    assert list(toy.quantities) == ["crossing"]
    assert toy.status == "partial"


def test_analyses_of_other_questions_wait(parted):
    _, toy, _, _ = parted
    assert not [name for name in toy.outcomes if name.startswith("analysis:")]
    assert toy.problems == {"crossing_null": "not played yet", "ablation": "not played yet"}


def test_a_later_run_plays_the_rest_and_nothing_twice(parted, whole):
    folder, _, arms, lines = parted
    assert len(log(folder)) == len(log(whole))
    assert log(folder)[: len(lines)] == lines
    assert played(folder)[: len(arms)] == arms
    assert sorted(played(folder)) == sorted(played(whole))


def test_the_numbers_are_those_of_a_run_in_one_piece(parted, whole):
    folder, before, *_ = parted
    after, once = read_comparison(folder).entry("toy"), read_comparison(whole).entry("toy")
    assert after.status == "finished"
    assert after.quantities == once.quantities
    assert before.quantities["crossing"] == once.quantities["crossing"]
    text = json.dumps({arm: o.model_dump(mode="json") for arm, o in after.outcomes.items()})
    assert json.loads(text) == {arm: o.model_dump(mode="json") for arm, o in once.outcomes.items()}


def test_a_question_of_a_finished_entry_plays_nothing(whole):
    before = log(whole)
    play(whole, "crossing_null", "ablation")
    assert log(whole) == before


def test_an_entry_that_the_question_cannot_be_put_to_plays_nothing(tmp_path):
    lines = play(tmp_path, "crossing", entries=("lone",))
    assert lines == ["[1/1] lone: 0 arms, at most 0 episodes"]
    assert not (tmp_path / "lone" / "lone").exists()
    lone = read_comparison(tmp_path).entry("lone")
    assert lone.status == "not run"
    assert "cross_task needs two tasks" in lone.not_applicable["crossing"]


def test_a_question_that_is_not_there_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'crossing'"):
        prepare(file(), (), ["crosing"])
