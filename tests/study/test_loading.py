"""Study files: what is refused, where the message points, what may be overridden."""

from pathlib import Path

import pytest

from vlascope.errors import StudyFileError
from vlascope.study.loading import load_study
from vlascope.study.seeds import compact

TOY = Path(__file__).parent / "toy.yaml"
MINIMAL = """\
name: small
policies:
  toy: {adapter: toy, checkpoint: bundled}
benchmark: {name: toy}
tasks: ["suite:shared"]
seeds: 0-2
arms:
  baseline: {}
"""
INJECTION = """\
  vlm:
    interventions:
      - {kind: inject, at: vlm.2.resid_post, source: {arm: baseline, task: other}}
"""
PAIRING = "pairings:\n  other: {shared/red: shared/green}\n"


def written(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path, text, *overrides):
    with pytest.raises(StudyFileError) as caught:
        load_study(written(tmp_path, text), overrides)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("said", ["toy:bundled", "{adapter: toy:bundled}"])
def test_a_policy_may_be_said_in_one_word(tmp_path, said):
    text = MINIMAL.replace("{adapter: toy, checkpoint: bundled}", said)
    chosen = load_study(written(tmp_path, text)).policies["toy"]
    assert (chosen.adapter, chosen.checkpoint) == ("toy", "bundled")


def test_the_toy_study_is_sound():
    assert load_study(TOY).seeds == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("before", "after", "place", "says"),
    [
        ("seeds:", "seedz:", ":6:1:", "did you mean 'seeds'"),
        ("adapter: toy", "adapter: toi", ":3:9:", "did you mean 'toy'"),
        ("{adapter: toy, checkpoint: bundled}", "toi:bundled", ":3:", "did you mean 'toy'"),
        ("{adapter: toy, checkpoint: bundled}", "zoo:nobody", ":3:", "is named 'zoo:nobody'"),
        ("seeds: 0-2", "seeds: 2-0", ":6:1:", "runs backwards"),
        ("seeds: 0-2", "seeds: [1, 1]", ":6:1:", "twice"),
        ("suite:shared", "suite:shard", ":5:", "did you mean 'shared'"),
        ("baseline: {}", "baseline: {promt: x}", ":8:14:", "did you mean 'prompt'"),
        ("baseline: {}", "baseline: {prompt: {task: x}}", ":8:23:", "no pairing"),
        ("name: small", "name: small\nname: again", ":2:1:", "appears twice"),
        ("seeds: 0-2", "seeds: [0", ":7:", "no YAML"),
        ("seeds: 0-2\n", "", ":1:1:", "'seeds' is required"),
    ],
)
def test_a_problem_is_pointed_at(tmp_path, before, after, place, says):
    assert before in MINIMAL
    message = refusal(tmp_path, MINIMAL.replace(before, after))
    assert f"/study.yaml{place}" in message
    assert says in message


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(StudyFileError, match="cannot read"):
        load_study(tmp_path / "nothing.yaml")
    with pytest.raises(StudyFileError, match="no shipped study"):
        load_study("nothing-of-that-name")


def test_a_list_is_no_study(tmp_path):
    assert "expected a mapping" in refusal(tmp_path, "- a\n- b\n")


def test_a_causal_arm_without_controls_is_refused(tmp_path):
    message = refusal(tmp_path, MINIMAL + INJECTION + PAIRING)
    assert ":9:3:" in message
    assert "identity, random_direction, no_injection, cross_prompt" in message


def test_controls_may_be_waived_with_a_reason(tmp_path):
    waived = INJECTION + '    controls: {waived: "a smoke test"}\n'
    study = load_study(written(tmp_path, MINIMAL + waived + PAIRING))
    assert study.arms["vlm"].controls.waived == "a smoke test"


def test_an_arm_that_is_no_control_is_refused_as_one(tmp_path):
    wrong = INJECTION + (
        "    controls: {identity: auto, random_direction: baseline, no_injection: baseline,"
        " cross_prompt: baseline}\n"
    )
    message = refusal(tmp_path, MINIMAL + wrong + PAIRING)
    assert "baseline is no random_direction control" in message
    assert "baseline is no cross_prompt control" in message


def test_a_field_that_an_intervention_lacks_is_refused(tmp_path):
    edit = "  bad:\n    interventions: [{kind: identity, at: a.0.resid_post, strenght: 2}]\n"
    message = refusal(tmp_path, MINIMAL + edit)
    assert ":9:50:" in message or ":10:" in message
    assert "field of identity" in message


def test_overrides_change_values_and_are_named_in_errors(tmp_path):
    path = written(tmp_path, MINIMAL)
    study = load_study(path, ["seeds=5-6", "report.frames=4", "policies.toy.device=cpu"])
    assert study.seeds == (5, 6)
    assert study.report.frames == 4
    assert "--set seeds=x" in refusal(tmp_path, MINIMAL, "seeds=x")
    assert "no 'typo' to go into" in refusal(tmp_path, MINIMAL, "arms.typo.prompt=x")
    assert "PATH=VALUE" in refusal(tmp_path, MINIMAL, "seeds")


@pytest.mark.parametrize(("seeds", "text"), [((0, 1, 2, 5), "0-2,5"), ((3,), "3"), ((), "")])
def test_seeds_are_shown_as_ranges(seeds, text):
    assert compact(seeds) == text
