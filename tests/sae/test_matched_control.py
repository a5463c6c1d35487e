"""The role `matched` of a feature edit: a study makes it from a feature index, by itself."""

import pytest
import torch

from vlascope.errors import FileMissing, IncompatibleError
from vlascope.interventions import parse_intervention
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.report import collect
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.store import ActivationStore
from vlascope.study.controls import control_of
from vlascope.study.execution import run_study
from vlascope.study.schema import Study
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import COLOURS, VLM
from vlascope_sae.architectures import build
from vlascope_sae.controls import MatchedFeatureEdit
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.trained import index_trained
from vlascope_sae.files import Provenance, load_sae, save_sae

AT = "vlm.1.resid_post"
WIDTH = 128
ASKED = [VLM["asked"].start + i for i in range(len(COLOURS))]
RED = ASKED[COLOURS.index("red")]


@pytest.fixture(scope="module")
def policy():
    return ToyAdapter.from_pretrained()


@pytest.fixture(scope="module")
def indexed(policy, tmp_path_factory):
    """A dictionary of every dimension's two signs with its feature index inside."""
    folder = tmp_path_factory.mktemp("matched")
    tasks = [f"shared/{colour}" for colour in COLOURS]
    plans = [EpisodePlan(arm="baseline", task=task, seed=0, max_steps=8) for task in tasks]
    spec = RecordSpec(at=(AT,))
    run_episodes(
        policy, BenchmarkSpec(name="toy"), plans, folder / "run", record=spec, progress=False
    )
    sae = build({"architecture": "topk", "d_in": WIDTH, "d_sae": 2 * WIDTH, "k": 2 * WIDTH})
    signs = torch.cat([torch.eye(WIDTH), -torch.eye(WIDTH)])
    with torch.no_grad():
        sae.W_dec.copy_(signs)
        sae.W_enc.copy_(signs.T)
    info = policy.info
    origin = Provenance(
        adapter="toy", checkpoint_hash=info.checkpoint_hash, hook_point=AT, spans=("soft_prompt",)
    )
    where = save_sae(folder / "sae", sae, origin)
    store = ActivationStore.open(folder / "run" / "activations")
    index_trained(load_sae(where), store, where / "features", sae_path=str(where))
    return where


def ablate(folder, **more):
    return {
        "kind": "sae_feature",
        "at": AT,
        "tokens": "soft_prompt",
        "sae": str(folder),
        "features": [RED],
        "mode": "ablate",
        **more,
    }


def test_the_stand_in_is_another_feature_that_fires_as_often(indexed):
    control = parse_intervention(control_of("matched", ablate(indexed)))
    assert isinstance(control, MatchedFeatureEdit)
    (match,) = control.matches
    assert match.feature == RED != match.control
    rates = FeatureIndex.open(indexed / "features").column("firing_rate")
    assert match.control_rate == rates[match.control] == pytest.approx(match.rate, rel=0.05)
    assert parse_intervention(control.model_dump(mode="json")).matches == control.matches
    assert control.restricted(steps=(0, 3)).matches == control.matches


@pytest.mark.slow
def test_a_study_plays_it_beside_the_edit_and_it_does_nothing(indexed, tmp_path):
    roles = {"identity": "auto", "random_direction": "auto", "matched": "auto"}
    study = Study.model_validate(
        {
            "name": "matched",
            "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
            "benchmark": {"name": "toy"},
            "tasks": ["shared/red"],
            "seeds": "0-1",
            "max_steps": 40,
            "workers": 1,
            "arms": {
                "baseline": {},
                "no_red": {"interventions": [ablate(indexed)], "controls": roles},
            },
        }
    )
    outcome = run_study(study, tmp_path / "run", progress=False)
    assert outcome.ok, outcome.complaints
    lines = {line.arm: line for line in collect(tmp_path / "run").successes}
    rate = {arm: line.by_task["shared/red"].value for arm, line in lines.items()}
    assert rate == {
        "baseline": 1,
        "no_red": 0,
        "no_red.identity": 1,
        "no_red.random_direction": rate["no_red.random_direction"],
        "no_red.matched": 1,
    }


def test_without_an_index_it_is_refused_before_anything_runs(indexed, policy, tmp_path):
    control = parse_intervention(control_of("matched", ablate(indexed, index=str(tmp_path / "no"))))
    with pytest.raises(FileMissing, match="vlascope features index"), policy.intervene(control):
        pass


def test_an_index_of_other_weights_is_refused(indexed, tmp_path):
    other = load_sae(indexed)
    with torch.no_grad():
        other.sae.b_dec.add_(1)
    save_sae(tmp_path / "other", other.sae, other.provenance)
    written = ablate(tmp_path / "other", index=str(indexed / "features"))
    with pytest.raises(IncompatibleError):
        _ = parse_intervention(control_of("matched", written)).matches
