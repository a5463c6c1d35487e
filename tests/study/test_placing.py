"""What a control that hooks every place of a question does without where a policy lacks one."""

from __future__ import annotations

import pytest

from vlascope.errors import UnknownName
from vlascope.records import EpisodePlan
from vlascope.study.execution import run_study
from vlascope.study.groups import WorkGroup
from vlascope.study.placing import hooked_where_possible, placed
from vlascope.study.run_directory import read_run
from vlascope.study.schema import Arm, Study

MISSING = "expert.mid.resid_post"
"""A third that two layers do not have."""


def group(*at, kind="identity"):
    arm = Arm(interventions=({"kind": kind, "at": list(at)},))
    return WorkGroup("hooked", "arm", arm, (EpisodePlan(arm="hooked", task="shared/red", seed=0),))


def edited(group):
    return group.definition.interventions[0]["at"]


def test_a_third_that_is_too_shallow_is_left_out_and_the_others_stay(toy):
    own, left_out = hooked_where_possible(group("vlm.mid.resid_post", MISSING), toy)
    assert edited(own) == ["vlm.mid.resid_post"]
    assert list(left_out) == [MISSING]
    assert "expert has 2 layers, too few for a mid third" in left_out[MISSING]
    assert edited(placed(own, toy)) == ["vlm.1.resid_post", "vlm.2.resid_post"]


def test_a_site_and_a_pathway_that_are_not_there_are_left_out_too(toy):
    own, left_out = hooked_where_possible(
        group("vlm.*.resid_post", "vlm.*.conv", "trunk.*.resid_post"), toy
    )
    assert edited(own) == ["vlm.*.resid_post"]
    assert list(left_out) == ["vlm.*.conv", "trunk.*.resid_post"]


def test_where_every_place_is_there_nothing_is_touched(toy):
    whole = group("vlm.early.resid_post", "expert.*.resid_post")
    own, left_out = hooked_where_possible(whole, toy)
    assert own is whole
    assert not left_out


def test_where_none_is_there_it_has_no_place(toy):
    own, left_out = hooked_where_possible(group(MISSING), toy)
    assert not left_out
    with pytest.raises(UnknownName, match="too few for a mid third"):
        placed(own, toy)


def test_an_edit_that_changes_something_is_not_made_a_smaller_one(toy):
    whole = group("vlm.mid.resid_post", MISSING, kind="zero_ablate")
    own, left_out = hooked_where_possible(whole, toy)
    assert own is whole
    assert not left_out


def study():
    hooked = {"kind": "identity", "at": ["vlm.mid.resid_post", MISSING]}
    lost = {"kind": "zero_ablate", "at": [MISSING]}
    waived = {"waived": "a test"}
    return Study.model_validate(
        {
            "name": "shallow",
            "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
            "benchmark": {"name": "toy"},
            "tasks": ["shared/red"],
            "seeds": "0",
            "max_steps": 4,
            "workers": 1,
            "arms": {
                "base": {},
                "hooked": {"interventions": [hooked], "controls": waived},
                "lost": {"interventions": [lost], "controls": waived},
            },
        }
    )


def test_the_arm_of_that_third_is_lost_and_the_control_is_played(tmp_path):
    assert run_study(study(), tmp_path, lenient=True, progress=False).ok
    _, episodes, outcomes = read_run(tmp_path)
    assert outcomes["toy"]["lost"].status == "not_applicable"
    hooked = outcomes["toy"]["hooked"]
    assert hooked.status == "ok"
    assert list(hooked.left_out) == [MISSING]
    assert hooked.hook_points == [["vlm.1.resid_post", "vlm.2.resid_post"]]
    assert [e.ok for e in episodes.of("toy", "hooked")] == [True]
    assert run_study(study(), tmp_path, lenient=True, progress=False).arms["toy"] == outcomes["toy"]


def test_a_study_of_one_policy_still_refuses_it(tmp_path):
    with pytest.raises(UnknownName, match="too few for a mid third"):
        run_study(study(), tmp_path, progress=False)
