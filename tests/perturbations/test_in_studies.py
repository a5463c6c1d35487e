"""Perturbations in study files: read, checked, planned."""

from __future__ import annotations

import pytest

from vlascope.errors import StudyFileError
from vlascope.study import design, load_study

STUDY = """
name: seen
policies:
  toy: {{adapter: toy, checkpoint: bundled}}
benchmark: {{name: toy}}
tasks: [unique/red]
seeds: 2
arms:
  baseline: {{}}
  changed:
    perturb: {perturb}
"""


def study(tmp_path, perturb: str):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(perturb=perturb))
    return load_study(path)


def planned(tmp_path, perturb: str):
    return design(study(tmp_path, perturb)).group("changed").plans[0].perturbation


def test_an_arm_takes_one_perturbation_or_a_list_or_a_function(tmp_path):
    assert planned(tmp_path, "{kind: blur}") == ({"kind": "blur"},)
    assert planned(tmp_path, "[{kind: blur}, {kind: flip}]") == ({"kind": "blur"}, {"kind": "flip"})
    assert planned(tmp_path, "my_package.my_module:darken") == "my_package.my_module:darken"


def test_a_study_written_out_is_read_back(tmp_path):
    there = study(tmp_path, "[{kind: occlusion, cell: [0, 1]}]")
    assert type(there).model_validate_json(there.model_dump_json()) == there


@pytest.mark.parametrize(
    ("perturb", "says"),
    [
        ("{kind: blurr}", "did you mean 'blur'"),
        ("{severity: 1}", "needs `kind`"),
        ("[{kind: blur}, {kind: blur, severty: 1}]", "did you mean 'severity'"),
        ("{kind: blur, severity: 7}", "less than or equal to 1"),
        ("{kind: occlusion}", "Field required"),
        ("{kind: occlusion, grid: 2, cell: [2, 0]}", "0 to 1"),
        ("no_module", "pattern"),
        ("5", "tuple"),
    ],
)
def test_bad_perturbations_are_refused_where_they_stand(tmp_path, perturb, says):
    with pytest.raises(StudyFileError, match=says) as refused:
        study(tmp_path, perturb)
    assert "study.yaml:11:" in str(refused.value)
