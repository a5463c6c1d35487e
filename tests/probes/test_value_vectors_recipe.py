"""The recipe on the toy policy: clusters of colours, held, beside random neurons and words."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from vlascope.errors import StudyFileError
from vlascope.report import collect
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope_probes.cli.value_vectors import app

RECIPE = {
    "kind": "value_vectors",
    "concepts": ["red", "blue"],
    "size": 1,
    "values": [5.0],
    "depths": ["early"],
    "draws": 1,
    "rotations": 19,
    "prompts": {"red": "{instruction} red red"},
}
STUDY = {
    "name": "words",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["suite:shared"],
    "seeds": "0-1",
    "workers": 1,
    "recipes": {"w": RECIPE},
}


def loaded(folder, **options):
    study = {**STUDY, "recipes": {"w": {**RECIPE, **options}}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return load_study(folder / "study.yaml")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    study = loaded(folder)
    outcome = run_study(study, folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return collect(folder / "run")


def test_a_study_has_every_arm_and_its_controls(tmp_path):
    arms = loaded(tmp_path).arms
    for arm in ("w_red_5", "w_red_early", "w_blue_random0", "w_red_prompted", "w_hooked"):
        assert arm in arms
    assert arms["w_red_early"].controls.prompting == "w_red_prompted"


def test_the_chapter_sets_held_neurons_beside_random_ones(played):
    text = json.dumps([section.model_dump() for section in played.sections], default=str)
    assert "random neurons" in text
    assert "w_red_early" in text
    assert "Episodes end at success" in text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"concepts": ["red", "red"]}, "different words"),
        ({"prompts": {"green": "{instruction}"}}, "no `concepts`"),
        ({"value": 3.0}, "one of `values`"),
        ({"prompts": {"red": "red"}}, "instruction"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, complaint):
    with pytest.raises(StudyFileError, match=complaint):
        loaded(tmp_path, **options)


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (["table", "toy", "--checkpoint", "bundled", "--word", "red", "--json"], "value_vectors"),
        (["cluster", "toy", "red", "--checkpoint", "bundled", "--size", "1", "--json"], "clusters"),
        (["share", "toy", "--checkpoint", "bundled", "--json"], "value_shares"),
    ],
)
def test_commands_print_tables_and_json(arguments, schema):
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0
    assert schema in json.loads(found.stdout)["schema"]
    plain = CliRunner().invoke(app, arguments[:-1])
    assert plain.exit_code == 0
    assert "layer" in plain.stdout or "neuron" in plain.stdout
