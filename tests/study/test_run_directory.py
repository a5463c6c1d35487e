"""A run directory belongs to one study."""

from pathlib import Path

import pytest

from vlascope.errors import CorruptFile, StudyFileError
from vlascope.study.loading import load_study
from vlascope.study.run_directory import ArmOutcome, claim, keep_outcome, read_manifest

TOY = Path(__file__).parent / "toy.yaml"


def test_a_changed_study_is_refused_and_told_what_changed(tmp_path):
    claim(tmp_path, load_study(TOY))
    with pytest.raises(StudyFileError, match=r"seeds: \[0, 1, 2, 3, 4, 5\] -> \[0\]") as caught:
        claim(tmp_path, load_study(TOY, ["seeds=0"]))
    assert "--out" in str(caught.value)


def test_questions_and_looks_may_change(tmp_path):
    claim(tmp_path, load_study(TOY))
    changed = load_study(TOY, ["report.frames=3", "workers=1", "findings={}", "title=other"])
    claim(tmp_path, changed)
    assert read_manifest(tmp_path).study == changed


def test_a_foreign_manifest_is_one_clear_error(tmp_path):
    (tmp_path / "study.json").write_text('{"something": "else"}')
    with pytest.raises(CorruptFile, match=r"study\.json is no vlascope\.study/1 file"):
        read_manifest(tmp_path)
    with pytest.raises(FileNotFoundError, match="no study was run there"):
        read_manifest(tmp_path / "elsewhere")


def test_outcomes_of_arms_add_up(tmp_path):
    keep_outcome(tmp_path, "p", "a", ArmOutcome(status="ok"))
    keep_outcome(tmp_path, "p", "b", ArmOutcome(status="failed", error="why"))
    keep_outcome(tmp_path, "p", "b", ArmOutcome(status="ok"))
    assert (tmp_path / "outcomes.json").read_text().count('"ok"') == 2
