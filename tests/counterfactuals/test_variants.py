"""Counterfactual instructions say what their kind promises, for every task of both benchmarks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlascope.benchmark import Task
from vlascope.counterfactuals import (
    VARIANTS,
    by_structure,
    can_vary,
    instruction_variant,
    scene_partners,
)
from vlascope.errors import StudyFileError, UnknownName
from vlascope_adapters.toy.weights import VOCABULARY
from vlascope_benchmarks.metaworld import tasks as metaworld
from vlascope_benchmarks.toy import tasks as toy

TOY = tuple(t for suite in toy.suites().values() for t in suite)
METAWORLD = tuple({t.name: t for s in metaworld.suites().values() for t in s}.values())
EVERY = [*((t, TOY) for t in TOY), *((t, METAWORLD) for t in METAWORLD)]


def of(tasks, name):
    return next(t for t in tasks if t.name == name)


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_variant_is_new_and_always_the_same(kind):
    made = 0
    for task, among in EVERY:
        if kind == "opposite" and not task.opposite:
            continue
        text = instruction_variant(task, among, kind, seed=3)
        assert text == instruction_variant(task, tuple(reversed(among)), kind, seed=3)
        assert text != task.instruction
        made += 1
    assert made >= 20


@pytest.mark.parametrize(("task", "among"), EVERY, ids=lambda x: getattr(x, "name", ""))
def test_metadata_fit_the_instruction(task, among):
    assert task.object in task.instruction
    assert task.instruction.startswith(task.verb)
    noun = task.object.split()[-1]
    assert noun not in task.motor.split()


def test_opposites_undo_each_other():
    paired = [t for t in METAWORLD if t.opposite]
    assert len(paired) == 30
    assert all(of(METAWORLD, of(METAWORLD, t.opposite).opposite) == t for t in paired)
    for task in paired:
        assert instruction_variant(task, METAWORLD, "opposite") not in task.paraphrases


def test_a_wrong_task_is_of_the_same_scene_where_there_is_one():
    for colour in toy.COLOURS:
        told = instruction_variant(of(TOY, f"shared/{colour}"), TOY, "wrong_task")
        assert told in {t.instruction for t in TOY if t.scene == "shared"}
        assert colour not in told
    told = instruction_variant(of(METAWORLD, "coffee-pull"), METAWORLD, "wrong_task")
    assert told in {of(METAWORLD, n).instruction for n in ("coffee-push", "coffee-button")}


def test_a_wrong_task_never_says_the_same():
    own = of(METAWORLD, "drawer-open")
    for seed in range(50):
        told = instruction_variant(own, METAWORLD, "wrong_task", seed=seed)
        assert told not in {own.instruction, *own.paraphrases}


def test_preferred_tasks_are_taken_first_but_never_over_the_scene():
    press = of(METAWORLD, "button-press")
    for seed in range(20):
        told = instruction_variant(press, METAWORLD, "wrong_task", seed, preferred=["hammer"])
        assert told == "hammer the nail"
    pull = of(METAWORLD, "stick-pull")
    told = instruction_variant(pull, METAWORLD, "wrong_task", preferred=["hammer"])
    assert told == of(METAWORLD, "stick-push").instruction


def test_a_wrong_object_keeps_the_rest():
    told = instruction_variant(of(TOY, "shared/red"), TOY, "wrong_object")
    assert told in {"go to the green point", "go to the blue point"}


def test_nonsense_has_as_many_words_and_the_policy_knows_none():
    for task, among in EVERY:
        told = instruction_variant(task, among, "nonsense").split()
        assert not set(told) & set(VOCABULARY)
        assert len(told) == len(task.instruction.replace("-", " ").split())


def test_seeds_choose_differently():
    task = of(METAWORLD, "hammer")
    told = {instruction_variant(task, METAWORLD, "wrong_task", seed) for seed in range(20)}
    assert len(told) > 5


def test_what_cannot_be_made_is_refused_by_name():
    bare = Task("stack", "stack the cubes")
    for kind, missing in (
        ("wrong_object", "object"),
        ("opposite", "opposite"),
        ("motor_only", "motor"),
        ("paraphrase", "0 paraphrases"),
        ("wrong_task", "no other task"),
    ):
        with pytest.raises(StudyFileError, match=missing) as refused:
            instruction_variant(bare, [bare], kind)
        assert "stack" in str(refused.value)
        assert can_vary(bare, [bare], kind) == str(refused.value)
    with pytest.raises(UnknownName, match="negation"):
        instruction_variant(bare, [bare], "negaton")
    astray = replace(of(TOY, "shared/red"), opposite="shared/gren")
    with pytest.raises(UnknownName, match="shared/green"):
        instruction_variant(astray, TOY, "opposite")


def test_structure_is_counted_in_scenes():
    found = by_structure(TOY)
    assert found["shared"] == ("shared/red", "shared/green", "shared/blue")
    assert found["unique"] == ("unique/red", "unique/green", "unique/blue")
    few = [of(METAWORLD, n) for n in ("door-open", "faucet-open", "faucet-close")]
    assert by_structure(few)["unique"] == ("door-open",)
    assert by_structure(few, METAWORLD) == {"shared": tuple(t.name for t in few)}


def test_scene_partners_use_every_instruction_once():
    found = scene_partners(TOY)
    assert set(found) == set(found.values()) == {"shared/red", "shared/green", "shared/blue"}
    assert all(a != b for a, b in found.items())
