"""A comparison of toy policies: played once, resumed when killed, and honest about what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from vlascope.comparison import ComparisonFile, read_comparison
from vlascope.comparison.loading import load_comparison
from vlascope.comparison.running import prepare, run_comparison, write_results
from vlascope.errors import FileMissing, StudyFileError, UnknownName

pytestmark = pytest.mark.slow

TOYS = Path(__file__).parent / "toys.yaml"


def play(file, folder, entries=()):
    """How it ended, and the lines it told and complained in."""
    lines, complaints = [], []
    ended = run_comparison(
        file,
        folder,
        prepare(file, entries),
        progress=False,
        tell=lines.append,
        say=complaints.append,
    )
    return ended, lines, complaints


def changed(**changes):
    """The file with parts of it replaced."""
    plain = yaml.safe_load(TOYS.read_text())
    for path, value in changes.items():
        *parts, last = path.split("__")
        holder = plain
        for part in parts:
            holder = holder[part]
        holder[last] = value
    return ComparisonFile.model_validate(plain)


def logged(folder):
    """Lines of every entry's log, which each episode that is played adds one to."""
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/*/log.jsonl"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("toys")
    ended, _, complaints = play(load_comparison(TOYS), where)
    assert ended.ok, complaints
    return where


@pytest.fixture(scope="module")
def result(folder):
    return read_comparison(folder)


def test_every_entry_gets_its_column_in_the_files_order(result):
    assert [e.name for e in result.entries] == ["toy", "noisy", "lone"]
    assert {e.status for e in result.entries} == {"finished"}
    assert result.entry("lone").title == "A single task"


def test_seeds_of_one_architecture_are_a_family(result):
    families = {name: [e.name for e in found] for name, found in result.families.items()}
    assert families == {"toy": ["toy", "noisy"], "lone": ["lone"]}


def test_the_facts_say_what_the_policy_is_and_what_it_played(result):
    facts = result.entry("toy").facts
    assert facts.policy.parameters == 73_138
    assert [(p.name, p.n_layers, p.width) for p in facts.policy.pathways] == [
        ("vision", 2, 64), ("vlm", 4, 128), ("expert", 2, 32),
    ]  # fmt: skip
    assert "vlm.3.resid_post" in facts.policy.pathways[1].dead
    assert facts.play.finished == facts.play.planned == facts.play.tries
    assert 0 < facts.play.work_seconds <= facts.play.seconds
    assert facts.policy.checkpoint_hash != result.entry("noisy").facts.policy.checkpoint_hash


def test_what_cannot_be_asked_says_why_and_is_no_failure(result):
    lone = result.entry("lone")
    assert "cross_task needs two tasks" in lone.not_applicable["crossing"]
    assert list(lone.sections) == ["language"]
    assert not result.entry("toy").not_applicable


def test_every_pathway_is_asked_about_without_being_named_in_the_file(result):
    arms = result.entry("toy").outcomes
    assert {"crossing_cross_task_vlm", "crossing_cross_task_expert"} <= set(arms)


def test_a_third_that_a_pathway_lacks_is_accounted_for_and_the_others_are_played(result):
    arms = result.entry("toy").outcomes
    assert arms["crossing_cross_task_expert_mid"].status == "not_applicable"
    assert "too few for a mid third" in arms["crossing_cross_task_expert_mid"].error
    assert arms["crossing_cross_task_vlm_mid"].status == "ok"


def test_the_control_hooks_the_places_that_are_there_and_says_what_it_does_without(result):
    hooked = result.entry("toy").outcomes["crossing_hooked"]
    assert hooked.status == "ok"
    assert list(hooked.left_out) == ["expert.mid.resid_post"]
    assert "vlm.1.resid_post" in hooked.hook_points[0]


def test_questions_answer_in_numbers_and_chapters(result):
    toy = result.entry("toy")
    assert set(toy.sections) == {"language", "crossing"}
    assert not toy.problems
    assert {q.key.partition(".")[0] for q in toy.quantities["language"]} == {"language"}
    assert toy.every_quantity == (*toy.quantities["language"], *toy.quantities["crossing"])


def test_its_json_holds_facts_numbers_and_reasons(folder, result):
    plain = json.loads((folder / "comparison.json").read_text())
    assert plain["schema"] == "vlascope.comparison/1"
    assert plain == json.loads(json.dumps(result.as_json()))
    assert plain["questions"]["language"] == "When does language matter?"


def test_a_second_run_plays_nothing(folder):
    before = logged(folder)
    assert before > 40
    ended, lines, _ = play(load_comparison(TOYS), folder)
    assert ended.ok
    assert logged(folder) == before
    assert sum("arms, at most" in line for line in lines) == 3


def test_a_question_that_changed_does_not_go_into_the_same_directory(folder):
    before = logged(folder)
    file = changed(battery__crossing__depths=["early"])
    with pytest.raises(StudyFileError, match=r"entry toy: .*another version of this study"):
        play(file, folder)
    with pytest.raises(StudyFileError, match=r"entries.toy.battery.crossing.depths: \[\"mid\"\]"):
        play(file, folder, ["lone"])
    with pytest.raises(StudyFileError, match='name: "toys" -> "others"'):
        play(changed(name="others"), folder)
    assert logged(folder) == before


def test_an_entry_that_is_not_there_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'noisy'"):
        prepare(load_comparison(TOYS), ["noise"])


def test_a_folder_without_a_comparison_is_said_to_be_one(tmp_path):
    with pytest.raises(FileMissing, match="no comparison was run there"):
        read_comparison(tmp_path)


def test_one_entry_that_fails_leaves_the_others_alone(tmp_path):
    short = {"tasks": ["unique/red"], "seeds": "0", "max_steps": 2}
    file = changed(
        battery={"language": {"kind": "language", "variants": ["null"]}},
        entries={
            "missing": {"policy": "toy:nowhere", **short},
            "sound": {"policy": "toy:bundled", **short},
            "later": {"policy": "toy:bundled", **short},
        },
    )
    ended, _, complaints = play(file, tmp_path, ["missing", "sound"])
    assert not ended.ok
    assert list(ended.failed) == ["missing"]
    assert "no toy checkpoint is named 'nowhere'" in complaints[0]
    found = read_comparison(tmp_path)
    assert [e.status for e in found.entries] == ["failed", "finished", "not run"]
    assert "nowhere" in found.entry("missing").error
    assert found.entry("missing").facts is None


def test_a_policy_that_the_benchmark_does_not_suit_is_a_complaint(tmp_path):
    entry = {"policy": "tinyvla:tiny", "tasks": ["unique/red"], "seeds": "0", "max_steps": 2}
    file = changed(battery={"language": {"kind": "language"}}, entries={"other": entry})
    ended, _, _ = play(file, tmp_path)
    assert "IncompatibleError" in ended.complaints["other"][0]
    assert read_comparison(tmp_path).entry("other").status == "partial"


COMMAND = "import sys; from vlascope.cli import main; main(sys.argv[1:])"


def test_killed_in_the_middle_and_resumed_it_is_as_if_it_had_not_been(folder, tmp_path):
    where = tmp_path / "run"
    typed = ["compare", str(TOYS), "--out", str(where), "--yes", "--quiet"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *typed], stdout=subprocess.DEVNULL)
    ledger = where / "noisy" / "noisy" / "episodes.jsonl"
    while process.poll() is None and not (ledger.exists() and ledger.read_bytes().count(b"\n") > 5):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = logged(where)
    assert 0 < left < logged(folder)
    ended, _, complaints = play(load_comparison(TOYS), where)
    assert ended.ok, complaints
    assert unclocked(where) == unclocked(folder)
    assert logged(where) <= logged(folder) + 4  # what was being played when it was killed


def unclocked(folder):
    """`comparison.json` without what the clock and the number of tries say."""
    plain = json.loads(write_results(folder).read_text())
    for entry in plain["entries"]:
        for name in ("seconds", "work_seconds", "tries"):
            del entry["facts"]["play"][name]
    return plain
