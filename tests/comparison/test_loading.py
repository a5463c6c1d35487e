"""A comparison file is refused with the line, what was given and what is close to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlascope.comparison.expansion import bare_study, options
from vlascope.comparison.loading import load_comparison
from vlascope.errors import StudyFileError
from vlascope.hooks import Pathway
from vlascope.study.shipped import COMPARISONS, find_shipped, shipped

TOYS = Path(__file__).parent / "toys.yaml"


def refused(tmp_path, before, after):
    """The complaint about the file with a part of its text replaced."""
    path = tmp_path / "wrong.yaml"
    text = TOYS.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(StudyFileError) as error:
        load_comparison(path)
    return str(error.value)


def test_a_sound_file_is_read():
    file = load_comparison(TOYS)
    assert list(file.entries) == ["toy", "noisy", "lone"]
    assert (file.family("toy"), file.family("noisy")) == ("toy", "toy")
    assert file.entries["toy"].policy.checkpoint == "bundled"


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("defaults:", "default:", 4, "did you mean 'defaults'"),
        ("max_steps: 8", "max_step: 8", 8, "did you mean 'max_steps'"),
        ("kind: language", "kind: langage", 11, "did you mean 'language'"),
        ("variants:", "variant:", 11, "no option of language is named 'variant'"),
        ("seeds: 1}", "seeds: 0}", 12, "greater than or equal to 1; got 0"),
        ("depths: [mid]", "depths: [middle]", 12, "'early', 'mid' or 'late'; got 'middle'"),
        ("toy:bundled", "toyy:bundled", 14, "did you mean 'toy'"),
        ("family: toy", "famly: toy", 15, "did you mean 'family'"),
        ("[unique/red]", "[unique/rad]", 16, "did you mean 'unique/red'"),
        ("title: A", "battery: {languag: null}, title: A", 16, "did you mean 'language'"),
        ("title: A", "battery: {crossing: {dept: 1}}, title: A", 16, "did you mean 'depths'"),
        ("title: A", "battery: {crossing: {kind: vision}}, title: A", 16, "is of kind 'injection'"),
        ("name: toy}", "name: toyy}", 5, "did you mean 'toy'"),
    ],
)
def test_a_mistake_is_pointed_at(tmp_path, before, after, line, said):
    message = refused(tmp_path, before, after)
    assert f"wrong.yaml:{line}:" in message
    assert said in message


def test_an_entry_needs_tasks_of_its_own_or_the_defaults(tmp_path):
    message = refused(tmp_path, "  tasks: [shared/red, shared/green]\n", "")
    assert "entry 'toy' has no `tasks`" in message


def test_a_file_or_a_shipped_name_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(StudyFileError, match="cannot read the file"):
        load_comparison(tmp_path / "nothing.yaml")
    with pytest.raises(StudyFileError, match="no shipped comparison is named 'nothing'"):
        find_shipped("nothing", COMPARISONS)


def test_every_shipped_comparison_is_sound():
    for name in shipped(COMPARISONS):
        assert load_comparison(name).battery, name


def test_the_policy_suggests_the_battery_decides_and_the_entry_has_the_last_word(tmp_path):
    path = tmp_path / "own.yaml"
    own = "{crossing: {depths: [late], seeds: 2}, language: null}"
    path.write_text(TOYS.read_text().replace("title: A", f"battery: {own}, title: A"))
    file = load_comparison(path)
    pathways = (Pathway("trunk", 6, 16),)
    assert options(file, "lone", "language", pathways) is None
    assert options(file, "toy", "crossing", pathways) == {
        "kind": "injection",
        "conditions": ["cross_task"],
        "pathways": ["trunk"],
        "site": "resid_post",
        "detail": "cross_task",
        "depths": ["mid"],
        "seeds": 1,
    }
    found = options(file, "lone", "crossing", pathways)
    assert (found["depths"], found["seeds"], found["pathways"]) == (["late"], 2, ["trunk"])


def test_an_entrys_study_is_what_the_defaults_say_with_its_own_changes():
    file = load_comparison(TOYS)
    study = bare_study(file, "lone")
    assert (study.name, study.title) == ("toys-lone", "Toy policies side by side: A single task")
    assert (study.tasks, study.seeds, study.max_steps) == (("unique/red",), (0, 1), 8)
    assert list(study.policies) == ["lone"]


def test_the_file_in_the_docs_is_sound(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "compare.md").read_text()
    (tmp_path / "docs.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    assert list(load_comparison(tmp_path / "docs.yaml").entries) == ["first", "second", "elsewhere"]
