"""Numbers that policies are compared by, on the toy policy, whose causal truth is known."""

from __future__ import annotations

import math

import pytest
import yaml

from vlascope.recipes.injection_between import between
from vlascope.recipes.injection_places import Spot
from vlascope.statistics import Pair, log_ratio
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

STUDY = {
    "name": "toy-quantities",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["suite:unique", "suite:shared"],
    "seeds": "0-2",
    "max_steps": 40,
    "workers": 1,
    "envs_per_worker": 9,
}


def played(folder, recipe, **changes):
    """Play a recipe, named `q`."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes, "recipes": {"q": recipe}}))
    outcome = run_study(load_study(path), folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return folder / "run"


def says(quantity):
    """The number of a quantity that has one, or the reason of one that has none."""
    assert (quantity.value is not None) != bool(quantity.why_not)
    return quantity.value.value if quantity.value else quantity.why_not


@pytest.fixture(scope="module")
def language(tmp_path_factory, read_quantities):
    recipe = {"kind": "language", "variants": ["null", "paraphrase", "source_prompt"]}
    run = played(tmp_path_factory.mktemp("language"), recipe)
    return {q.key: q for q in read_quantities(run, "q").values()}


def test_without_words_only_shared_scenes_suffer(language):
    assert says(language["language.success.own.shared"]) == 1
    assert says(language["language.success.null.shared"]) == 0
    assert says(language["language.effect.null.shared"]) == -1
    assert says(language["language.effect.null.unique"]) == 0
    interaction = language["language.interaction.null"]
    assert says(interaction) == -1
    assert interaction.signed
    assert interaction.p < 0.05


def test_a_paraphrase_changes_nothing_and_another_prompt_is_followed(language):
    assert says(language["language.effect.paraphrase.shared"]) == 0
    assert says(language["language.source_goal"]) == 1
    assert language["language.source_goal.effect"].against == "own prompt"


def test_a_structure_that_no_task_has_says_so(tmp_path, read_quantities):
    recipe = {"kind": "language", "variants": ["null"]}
    run = played(tmp_path, recipe, tasks=["suite:unique"], seeds=[0])
    by_key = {q.key: q for q in read_quantities(run, "q").values()}
    assert says(by_key["language.effect.null.shared"]) == "no task of a shared scene"
    assert says(by_key["language.interaction.null"]) == "not played in shared scenes"
    assert "share a scene" in says(by_key["language.source_goal"])


@pytest.fixture(scope="module")
def injection(tmp_path_factory, read_quantities):
    recipe = {
        "kind": "injection",
        "pathways": ["vlm", "expert"],
        "conditions": ["null_prompt", "cross_task"],
        "depths": ["late"],
        "layers": ["vlm.1"],
        "seeds": 2,
    }
    run = played(tmp_path_factory.mktemp("injection"), recipe, tasks=["suite:shared"])
    found = read_quantities(run, "q")
    return {place[:3]: q for place, q in found.items()}


@pytest.mark.slow
def test_what_is_put_into_the_vlm_brings_the_behaviour_back(injection):
    key = "injection.null_prompt.success"
    assert says(injection[key, "vlm", ""]) == 1
    assert says(injection[f"{key}.no_injection", "vlm", ""]) == 0
    back = injection[f"{key}.against.no_injection", "vlm", ""]
    assert says(back) == 1
    assert back.norm_ratio > 0
    moved = injection["injection.null_prompt.displacement.against.no_injection", "vlm", ""]
    assert says(moved) < -0.05  # the prompt's absence moves the hand, and the injection undoes it


@pytest.mark.slow
def test_overrides_stand_beside_their_controls(injection):
    for metric in ("override", "override_strict", "override_margin"):
        key = f"injection.cross_task.{metric}"
        assert says(injection[key, "vlm", ""]) == 1
        assert says(injection[f"{key}.no_injection", "vlm", ""]) == 0
        assert says(injection[f"{key}.against.cross_prompt", "vlm", ""]) == 0
        assert (f"{key}.against.no_injection", "vlm", "") not in injection
    assert says(injection["injection.cross_task.override_ambiguous", "vlm", ""]) == 0


def test_a_pair_of_pathways_that_is_not_there_says_so():
    held = {Spot("trunk", "", "resid_post"): "arm"}
    ratio, difference = between(None, "cross_task", held, ["trunk"])
    assert ratio.key == "injection.cross_task.displacement_log_ratio.expert_to_vlm"
    assert says(ratio) == says(difference) == "no such pathway was injected into: expert, vlm"


@pytest.mark.slow
def test_depth_thirds_count_and_numbered_layers_do_not(injection):
    assert ("injection.cross_task.displacement", "vlm", "late") in injection
    assert {pathway for _, pathway, _ in injection} == {"vlm", "expert", ""}
    assert {q.site for q in injection.values()} == {"resid_post"}


@pytest.mark.slow
def test_the_ratio_of_two_pathways_is_that_of_their_displacements(injection):
    key = "injection.cross_task.displacement"
    ratio = injection[f"{key}_log_ratio.expert_to_vlm", "", ""]
    a, b = (says(injection[key, p, ""]) for p in ("expert", "vlm"))
    assert says(ratio) == pytest.approx(math.log(a / b))
    assert ratio.value.low <= says(ratio) <= ratio.value.high
    sizes = [injection[key, p, ""].norm_ratio for p in ("expert", "vlm")]
    per_norm = injection[f"{key}_log_ratio_per_norm.expert_to_vlm", "", ""]
    assert says(per_norm) == pytest.approx(math.log(a / sizes[0] / (b / sizes[1])))


def test_a_log_ratio_needs_two_positive_means():
    pairs = [Pair(str(i), 2.0 + i % 2, 1.0) for i in range(6)]
    assert log_ratio(pairs).value == pytest.approx(math.log(2.5))
    none = log_ratio([Pair("a", 1.0, 0.0)])
    assert none.value is None
    sometimes = log_ratio([Pair(str(i), 1.0, float(i == 0)) for i in range(6)])
    assert sometimes.value == pytest.approx(math.log(6))
    assert sometimes.low is None
