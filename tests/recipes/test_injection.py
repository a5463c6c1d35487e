"""The injection recipe on the toy policy, whose soft prompt is known to carry the goal."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binom

from vlascope.benchmark import Task
from vlascope.directions import Subspace, save_directions
from vlascope.errors import IncompatibleError, StudyFileError, UnusableActivations
from vlascope.hooks import Pathway
from vlascope.recipes.injection import Injection
from vlascope.recipes.injection_verdicts import DECIDING, Verdict, adjusted, verdict
from vlascope.recipes.pairings import cross_task, same_scene
from vlascope.report import collect
from vlascope.sections import Cell
from vlascope.statistics import Comparison, Estimate, mcnemar_p, rate
from vlascope.study.design import design
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

POINT = "vlm.1.resid_post"
STUDY = {
    "name": "toy-injection",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["suite:shared"],
    "seeds": "0-2",
    "max_steps": 30,
    "workers": 1,
    "envs_per_worker": 9,
}
PLAYED = {
    "kind": "injection",
    "pathways": ["vlm", "vision"],
    "conditions": ["cross_task", "same_scene"],
    "subspaces": [{"at": POINT, "tokens": ["soft_prompt"], "dimensions": [2]}],
    "switches": [0.2],
    "seeds": 3,
}


def loaded(folder: Path, recipe, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "recipes": {"inj": recipe}, **changes}))
    return load_study(path)


def options(**changes):
    return {"kind": "injection", "pathways": ["vlm", "expert"], **changes}


def task(name, scene="", instruction=None):
    return Task(name=name, instruction=instruction or name, scene=scene)


def test_pairings_follow_names_and_scenes():
    tasks = [task("c"), task("b", "s"), task("a", "s"), task("d"), task("e", "s", "a")]
    assert same_scene(tasks) == {"a": "b", "b": "e", "e": "b"}  # a and e say the same
    assert cross_task(tasks) == {"a": "b", "b": "e", "e": "b", "c": "d", "d": "c"}
    assert cross_task([task("a")]) == {}
    assert cross_task(tasks) == cross_task(tasks[::-1])


def test_every_condition_stands_beside_its_controls(tmp_path):
    conditions = ["null_prompt", "cross_task", "cross_seed", "cross_prompt", "self"]
    laid_out = design(loaded(tmp_path, options(conditions=conditions)))
    expected = {
        "null_prompt": {"identity", "random_direction", "no_injection", "prompting"},
        "cross_task": {"identity", "random_direction", "no_injection", "cross_prompt"},
        "cross_seed": {"identity", "random_direction", "no_injection"},
        "cross_prompt": {"identity", "random_direction", "no_injection", "cross_prompt"},
        "self": set(),
    }
    for condition, roles in expected.items():
        for pathway in ("vlm_and_expert",) if condition == "self" else ("vlm", "expert"):
            assert set(laid_out.controls(f"inj_{condition}_{pathway}")) == roles


def test_details_split_one_condition_by_depth_layer_site_span_window_and_subspace(tmp_path):
    study = loaded(
        tmp_path,
        options(
            conditions=["cross_task"],
            pathways=["vlm"],
            depths=["late", "early"],
            layers=["vlm.2"],
            sites=["mlp_out"],
            spans=["vlm:soft_prompt"],
            windows=["second_half"],
            subspaces=[{"at": POINT, "dimensions": [1]}],
        ),
    )
    edits = {n: a.interventions[0] for n, a in study.arms.items() if n.startswith("inj_cross_task")}
    assert {n.removeprefix("inj_cross_task_") for n in edits} == {
        "vlm", "vlm_early", "vlm_late", "vlm_2", "vlm_mlp_out", "vlm_soft_prompt",
        "vlm_second_half", "vlm_1_resid_post", "vlm_1_resid_post_k_1",
    }  # fmt: skip
    assert edits["inj_cross_task_vlm_second_half"]["steps"] == [15, 30]
    assert edits["inj_cross_task_vlm_soft_prompt"]["tokens"] == ["soft_prompt"]
    held = study.arms["inj_cross_task_vlm_1_resid_post_k_1"]
    assert held.controls is not None
    assert held.controls.random_subspace == "auto"


@pytest.mark.parametrize(
    ("changes", "study", "said"),
    [
        ({"windows": ["quarter_9"]}, {}, "did you mean"),
        ({"windows": ["quarter_1"]}, {"max_steps": None}, "unknown length"),
        ({"windows": ["first_half"], "steps": 31}, {}, "past the episode's end"),
        ({}, {"tasks": ["shared/red"]}, "needs two tasks"),
        ({"conditions": ["same_scene"]}, {"tasks": ["suite:unique"]}, "of one scene"),
        ({"conditions": ["cross_seed"], "seeds": 1}, {}, "needs two seeds"),
        ({"subspaces": [{"at": POINT, "dimensions": [0]}]}, {}, "greater than or equal to 1"),
        ({"pathways": []}, {}, "at least 1 item"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_before_any_rollout(tmp_path, changes, study, said):
    with pytest.raises(StudyFileError, match=said):
        loaded(tmp_path, options(**changes), **study)


def test_subspaces_as_wide_as_the_policy_are_refused_before_any_rollout(tmp_path):
    wide = options(subspaces=[{"at": POINT, "dimensions": [128]}])
    with pytest.raises(UnusableActivations, match="k=128' is to have 128 of 128"):
        run_study(loaded(tmp_path, wide), tmp_path / "run", progress=False)
    file = tmp_path / "found.safetensors"
    save_directions(file, [Subspace("narrow", POINT, np.eye(64, dtype=np.float32)[:2])])
    held = options(subspaces=[{"at": POINT, "basis": {"file": str(file), "name": "narrow"}}])
    with pytest.raises(IncompatibleError, match="64 wide"):
        run_study(loaded(tmp_path, held), tmp_path / "other", progress=False)
    assert not list(tmp_path.rglob("episodes.jsonl"))


def test_it_suggests_every_pathway_that_a_prompt_can_change():
    found = Injection.suggested(
        [Pathway("vision", 2, 8), Pathway("vlm", 4, 8), Pathway("ex", 2, 8)]
    )
    assert found["pathways"] == ["vlm", "ex"]
    assert Injection.suggested([Pathway("vision", 2, 8)])["pathways"] == ["vision"]


def test_it_suggests_no_second_pathway_of_pictures_whatever_its_name():
    eyes = [
        Pathway("vision", 2, 8, mixes=("image.top", "image.wrist")),
        Pathway("vision_fused", 2, 8, mixes=("image.top", "image.wrist")),
    ]
    found = Injection.suggested([*eyes, Pathway("trunk", 4, 8, mixes=("image.top", "state"))])
    assert found["pathways"] == ["trunk"]


def test_the_default_is_no_larger_than_the_demo(tmp_path):
    """The shipped demo plays 645 episodes of 12 tasks at 5 seeds; here there are 6 tasks."""
    defaults = Injection.suggested([Pathway("vlm", 4, 128), Pathway("expert", 2, 16)])
    recipe = {"kind": "injection", **defaults}
    laid_out = design(loaded(tmp_path, recipe, tasks=["*"], seeds="0-4"))
    assert sum(len(group.plans) for group in laid_out.groups) <= 330


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("injection")
    outcome = run_study(loaded(folder, PLAYED), folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    (found,) = collect(folder / "run").sections
    return found


def table(chapter, title):
    return next(b for b in chapter.blocks if b.type == "table" and b.title.startswith(title))


def rows(chapter, title):
    found = table(chapter, title)
    return {tuple(row[:2]): dict(zip(found.columns, row, strict=True)) for row in found.rows}


@pytest.mark.slow
def test_into_the_vlm_it_redirects_into_vision_it_does_not(chapter):
    found = rows(chapter, "Conditions by pathway")
    goal = "source goal reached"
    assert found["cross task", "vlm"][goal].estimate.value == 1
    assert found["cross task", "vision"][goal].estimate.value == 0
    assert found["cross task", "vision"]["displacement"].estimate.value < 1e-4
    verdicts = {key: row["verdict"] for key, row in rows(chapter, "Injection minus").items()}
    assert verdicts["cross task", "vlm"] == "acts"
    assert verdicts["cross task", "vision"] == "not told apart"


@pytest.mark.slow
def test_two_dimensions_carry_all_of_it_and_random_ones_nothing(chapter):
    """Three asked colours differ in a plane: two dimensions of `asked`."""
    where = f"{POINT} soft_prompt k=2"
    found = rows(chapter, "Injection minus")["cross task", where]
    assert found["verdict"] == "acts"
    assert found["random subspace"].estimate.value == 1  # success 1 against 0
    assert found["cross prompt"].estimate.value == 0  # as much as the prompt itself
    shares = next(iter(rows(chapter, "Subspaces of source minus target").values()))
    assert shares["share, held out"] > 0.999
    assert shares["random"] < 0.05


@pytest.mark.slow
def test_every_number_has_its_n_and_published_figures_are_labelled(chapter):
    for block in chapter.blocks:
        for row in getattr(block, "rows", ()):
            assert all(cell.estimate.n > 0 for cell in row if isinstance(cell, Cell))
    assert "not ours" in table(chapter, "Published").title
    assert any("lasted until then" in s for s in chapter.sentences)
    assert any("random subspaces of equal dimension hold" in s for s in chapter.sentences)
    assert any("inj_cross_task_vision" in u for u in chapter.unresolved)


def made(rng, n=40, arm=0.5, control=0.5):
    """A verdict on an arm and controls whose episodes succeed at these rates."""
    values = rng.random(n) < arm
    controls = {r: against(values, rng.random(n) < control) for r in DECIDING}
    return verdict(
        Verdict("a", "cross_task", "vlm", "source_goal", rate(list(values)), controls, None)
    )


def against(values, others):
    gained, lost = int((values & ~others).sum()), int((others & ~values).sum())
    value = (gained - lost) / len(values)
    return Comparison(
        difference=Estimate(value=value, low=None, high=None, n=len(values), method="made"),
        p=mcnemar_p(gained, lost),
        test="exact McNemar test",
        detectable=None,
        detectable_method="",
    )


def test_where_nothing_acts_verdicts_are_at_the_nominal_rate(monkeypatch):
    """200 null repetitions of a section with three arms: family-wise false positives."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects at every adjustment
    rng = np.random.default_rng(0)
    false = sum(
        any(v.word != "not told apart" for v in adjusted([made(rng) for _ in range(3)], 0.05))
        for _ in range(200)
    )
    assert false <= binom.ppf(0.999, 200, 0.05)


def test_a_real_effect_is_found_and_a_missing_control_leaves_it_open():
    rng = np.random.default_rng(1)
    (found,) = adjusted([made(rng, arm=0.9, control=0.1)], 0.05)
    assert found.word == "acts"
    (worse,) = adjusted([made(rng, arm=0.1, control=0.9)], 0.05)
    assert worse.word == "reversed"
    alone = Verdict("a", "self", "vlm", "displacement", found.value, {}, None)
    assert adjusted([verdict(alone)], 0.05)[0].word == "not told apart"
