"""Laying a study out: arms made automatically, recordings, pairs, parts."""

from pathlib import Path

import pytest

from vlascope.errors import StudyFileError, UnknownName
from vlascope.hooks import Pathway
from vlascope.study.depth import expand_depth, layer_at, layers_of_third
from vlascope.study.design import design
from vlascope.study.editing import for_policy
from vlascope.study.groups import Reference
from vlascope.study.loading import load_study

TOY = Path(__file__).parent / "toy.yaml"
PATHWAYS = (Pathway("vision", 2, 64), Pathway("vlm", 4, 128), Pathway("expert", 2, 32, 4))


@pytest.fixture(scope="module")
def laid_out():
    return design(load_study(TOY))


def test_controls_marked_auto_become_arms(laid_out):
    made = {g.arm: g for g in laid_out.groups if g.role == "control"}
    assert {"vlm.identity", "vlm.random_direction"} <= set(made)
    assert made["vlm.identity"].definition.interventions[0]["kind"] == "identity"
    like = made["vlm.random_direction"].definition.interventions[0]["like"]
    assert like["kind"] == "inject"
    assert laid_out.controls("vlm")["random_direction"] == "vlm.random_direction"


def test_a_control_plays_the_same_cells_as_its_arm(laid_out):
    cells = [[(p.task, p.seed) for p in laid_out.group(a).plans] for a in ("vlm", "vlm.identity")]
    assert cells[0] == cells[1]


def test_a_recording_is_full_length_and_comes_before_what_reads_it(laid_out):
    arms = [g.arm for g in laid_out.groups]
    source = laid_out.group("baseline.source")
    assert arms.index("baseline.source") < arms.index("null_restored")
    assert not any(p.stop_on_success for p in source.plans)
    assert set(source.record.at) == {
        "vlm.2.resid_post",
        "vlm.early.resid_post",
        "expert.*.resid_post",
    }
    assert all(p.stop_on_success for p in laid_out.group("baseline").plans)


def test_an_arm_with_a_pairing_plays_the_paired_tasks_only(laid_out):
    assert {p.task for p in laid_out.group("vlm").plans} == {
        "shared/red",
        "shared/green",
        "shared/blue",
    }
    found = laid_out.group("vlm").sources["shared/red", 2]
    assert found == Reference("baseline.source", "shared/green", 2)


def test_prompts_are_worked_out(laid_out):
    told = {p.task: p.instruction for p in laid_out.group("wrong_prompt").plans}
    assert told["shared/red"] == "go to the green point"
    assert {p.instruction for p in laid_out.group("null_prompt").plans} == {""}
    assert {p.instruction for p in laid_out.group("baseline").plans} == {None}
    words = {p.instruction for p in laid_out.group("other_words").plans}
    assert "move to the red point" in words


def test_another_seed_is_the_next_one_of_the_study():
    override = "arms.vlm.interventions.0.source={arm: baseline, task: next_goal, seed: other}"
    laid_out = design(load_study(TOY, [override]))
    assert laid_out.group("vlm").sources["shared/red", 5].seed == 0


def test_shards_part_the_cells_and_keep_their_sources(laid_out):
    shards = [laid_out.shard(i, 3) for i in range(3)]
    for arm in ("baseline", "vlm"):
        parts = [{p.episode for p in s.group(arm).plans} for s in shards]
        assert set().union(*parts) == {p.episode for p in laid_out.group(arm).plans}
        assert sum(len(p) for p in parts) == len(laid_out.group(arm).plans)
    for shard in shards:
        recorded = {p.episode for p in shard.group("baseline.source").plans}
        assert {r.episode for r in shard.group("vlm").sources.values()} >= recorded or recorded
        wanted = {
            shard.group("vlm").sources[p.task, p.seed].episode for p in shard.group("vlm").plans
        }
        assert wanted <= recorded


def test_choosing_arms_brings_the_recordings_along(laid_out):
    assert [g.arm for g in laid_out.only(["vlm"]).groups] == ["baseline.source", "vlm"]
    with pytest.raises(UnknownName, match="did you mean"):
        laid_out.only(["vlmm"])


@pytest.mark.parametrize(
    ("layers", "sizes"), [(1, (0, 1, 0)), (2, (1, 0, 1)), (4, (1, 2, 1)), (12, (4, 4, 4))]
)
def test_thirds_cover_every_layer_once(layers, sizes):
    thirds = [layers_of_third(t, layers) for t in ("early", "mid", "late")]
    assert tuple(len(t) for t in thirds) == sizes
    assert [layer for t in thirds for layer in t] == list(range(layers))


def test_depth_is_expanded_and_other_globs_stay():
    globs = ("vlm.early.resid_post", "expert.*.mlp_out")
    assert expand_depth(globs, PATHWAYS) == ("vlm.0.resid_post", "expert.*.mlp_out")
    with pytest.raises(UnknownName, match="too few for a mid third"):
        expand_depth(["expert.mid.resid_post"], PATHWAYS)
    with pytest.raises(UnknownName, match="did you mean"):
        expand_depth(["vml.mid.resid_post"], PATHWAYS)


def test_a_percentage_names_the_one_layer_at_that_depth():
    globs = ["vlm.50%.resid_post", "expert.0%.resid_post", "expert.100%.mlp_out"]
    assert expand_depth(globs, PATHWAYS) == (
        "vlm.2.resid_post",
        "expert.0.resid_post",
        "expert.1.mlp_out",
    )
    with pytest.raises(UnknownName, match="0% to 100%"):
        expand_depth(["vlm.101%.resid_post"], PATHWAYS)


@pytest.mark.parametrize("layers", range(3, 40))
def test_the_layer_at_the_middle_of_a_third_is_in_that_third(layers):
    for third, share in (("early", 1 / 6), ("mid", 1 / 2), ("late", 5 / 6)):
        assert layer_at(round(share, 2), layers) in layers_of_third(third, layers)


def test_a_design_is_expanded_for_a_policy_down_to_nested_edits(laid_out):
    own = for_policy(laid_out, PATHWAYS)
    edit = own.group("vlm_early.random_direction").definition.interventions[0]
    assert edit["at"] == edit["like"]["at"] == ["vlm.0.resid_post"]
    assert "vlm.0.resid_post" in own.group("baseline.source").record.at


def test_an_arm_without_any_task_is_refused():
    with pytest.raises(StudyFileError, match="has no task"):
        design(load_study(TOY, ['arms.wrong_prompt.tasks=["suite:unique"]']))
