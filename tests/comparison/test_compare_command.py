"""`vlascope compare`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlascope.cli import main

TOYS = str(Path(__file__).parent / "toys.yaml")

pytestmark = pytest.mark.slow


def typed(capsys, *arguments):
    """Exit code, standard output and error."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def test_a_plan_says_how_much_and_what_cannot_be_asked_and_plays_nothing(capsys, tmp_path):
    code, out, _ = typed(capsys, TOYS, "--out", tmp_path / "run", "-n")
    assert code == 0
    assert "toy: 12 arms, at most 30 episodes" in out
    assert "crossing is not applicable: cross_task needs two tasks" in out
    assert "3 entries, at most" in out
    assert not (tmp_path / "run").exists()


def test_one_question_of_one_entry_is_planned_by_itself(capsys, tmp_path):
    asked = ("--entry", "toy", "--question", "language", "-n")
    code, out, _ = typed(capsys, TOYS, "--out", tmp_path / "run", *asked)
    assert code == 0
    assert out.startswith("toy: 2 arms, at most 8 episodes\n")
    code, _, err = typed(capsys, TOYS, "--question", "langage", "-n")
    assert code == 2
    assert "did you mean 'language'" in err


def test_a_mistake_is_one_message_that_points_at_it(capsys, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(Path(TOYS).read_text().replace("battery:", "batteries:"))
    code, _, err = typed(capsys, wrong)
    assert code == 2
    assert f"{wrong}:10:1" in err
    assert "did you mean 'battery'" in err


def test_one_entry_is_played_and_the_report_written_again_without_playing(capsys, tmp_path):
    out = tmp_path / "run"
    code, said, err = typed(capsys, TOYS, "--out", out, "--entry", "lone", "--yes", "--quiet")
    assert code == 0, err
    assert "[1/1] lone: 2 arms, at most 4 episodes" in said
    plain = json.loads((out / "comparison.json").read_text())
    assert [entry["status"] for entry in plain["entries"]] == ["not run", "not run", "finished"]
    ledger = (out / "lone" / "lone" / "episodes.jsonl").read_bytes()
    (out / "comparison.json").unlink()
    code, said, _ = typed(capsys, TOYS, "--out", out, "--report-only")
    assert code == 0
    assert str(out / "comparison.html") in said
    assert (out / "comparison.json").exists()
    assert (out / "lone" / "lone" / "episodes.jsonl").read_bytes() == ledger


def test_an_entry_that_fails_is_said_at_the_end_with_exit_code_1(capsys, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(
        "name: two\n"
        "defaults: {benchmark: {name: toy}, tasks: [unique/red], seeds: 0, max_steps: 2}\n"
        "battery: {language: {kind: language, variants: [null]}}\n"
        "entries: {lost: {policy: 'toy:nowhere'}, sound: {policy: 'toy:bundled'}}\n"
    )
    code, said, err = typed(capsys, file, "--out", tmp_path / "run", "--yes", "--quiet")
    assert code == 1
    assert "lost: cannot be played" in said
    assert "entry lost failed: UnknownName: no toy checkpoint is named 'nowhere'" in err
    assert "sound: " in said
