"""The toy policy's asked colour, found by name where it is, and steered along."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from vlascope.directions import load_directions
from vlascope.encoders import open_encoder
from vlascope.errors import IncompatibleError, StudyFileError, UnusableActivations
from vlascope.recipes.ablation_verdicts import UNTOLD
from vlascope.report import collect
from vlascope.rollout.ledger import read_episodes
from vlascope.store import ActivationStore
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import COLOURS, VLM
from vlascope_probes.cli.concepts import app
from vlascope_probes.concepts import (
    episodes_of,
    find_directions,
    label,
    load_vocabulary,
    overview,
    places_of,
    score_features,
)
from vlascope_probes.concepts.section import own_measure
from vlascope_probes.evidence import read_evidence
from vlascope_sae.architectures import build
from vlascope_sae.files import Provenance, save_sae

pytestmark = pytest.mark.slow

ASKED = VLM["asked"].start + COLOURS.index("red")
STUDY = {
    "name": "toy-concepts",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["suite:shared", "suite:unique"],
    "seeds": "0-3",
    "max_steps": 24,
    "workers": 1,
    "envs_per_worker": 6,
}
RECIPE = {
    "kind": "concepts",
    "at": ["vlm.*.resid_post"],
    "tokens": ["soft_prompt"],
    "concepts": ["asks_for_red"],
    "top": 1,
    "strengths": [0.7],
    "seeds": 2,
    "permutations": 99,
}


def loaded(folder, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "recipes": {"con": {**RECIPE, **changes}}}))
    return load_study(path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy-concepts")
    outcome = run_study(loaded(folder), folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return folder / "run"


@pytest.fixture(scope="module")
def run(study):
    return study / "toy"


@pytest.fixture(scope="module")
def store(run):
    return ActivationStore.open(run / "activations")


@pytest.fixture(scope="module")
def episodes(run):
    return [e for e in episodes_of(read_evidence(run)) if e.name.startswith("baseline/")]


@pytest.fixture(scope="module")
def sae(tmp_path_factory):
    """A dictionary that holds every dimension's two signs, at the soft prompt of vlm.1."""
    made = build({"architecture": "topk", "d_in": 128, "d_sae": 256, "k": 256})
    signs = torch.cat([torch.eye(128), -torch.eye(128)])
    with torch.no_grad():
        made.W_dec.copy_(signs)
        made.W_enc.copy_(signs.T)
    origin = Provenance(
        checkpoint_hash=ToyAdapter.from_pretrained().info.checkpoint_hash,
        hook_point="vlm.1.resid_post",
        spans=("soft_prompt",),
    )
    return save_sae(tmp_path_factory.mktemp("sae") / "perfect", made, origin)


def test_the_asked_colour_is_where_attention_gathers_it_and_not_before(store, episodes):
    found = overview(
        store,
        load_vocabulary(),
        episodes,
        places_of(store, tokens=["soft_prompt", "state"]),
        concepts=["asks_for_red"],
        permutations=99,
    )
    cells = {(s.point, s.span): s for s in found.scores}
    for layer in (1, 2, 3):
        here = cells[f"vlm.{layer}.resid_post", "soft_prompt"]
        assert here.stands
        assert here.level == "very strong"
        assert here.auc == 1
        assert here.task_held_out > 0.95
    before = cells["vlm.0.resid_post", "soft_prompt"]
    assert not before.stands
    assert before.auc == pytest.approx(0.5)
    assert not any(cells[f"vlm.{layer}.resid_post", "state"].stands for layer in range(4))


def test_the_direction_is_that_of_the_asked_colour(store, episodes):
    place = ("vlm.1.resid_post", "soft_prompt")
    (found,) = find_directions(store, load_vocabulary(), episodes, [("asks_for_red", place)])
    assert found.at == "vlm.1.resid_post"
    assert int(abs(found.unit).argmax()) == ASKED
    assert found.unit[ASKED] > 0.7
    assert found.scale > 0


def test_steering_along_it_redirects_and_a_random_direction_does_not(run):
    arrived = {}
    for record in read_episodes(run):
        if record.plan.task in ("shared/green", "shared/blue"):
            arrived.setdefault(record.plan.arm, []).append("shared/red" in record.predicates)
    assert arrived["con_steer_0_7_1"] == [True] * 4
    assert not any(arrived["baseline"])
    assert not any(arrived["con_steer_0_7_1.identity"])
    assert sum(arrived["con_steer_0_7_1.random_direction"]) < 4


def test_the_report_tells_what_the_edit_did_beside_its_controls(study):
    (section,) = collect(study).sections
    tables = {b.title: b for b in section.blocks if b.type == "table"}
    rows = tables["Editing the strongest concepts"].rows
    assert [r[0] for r in rows] == [
        "asks_for_red: taken away",
        "— random direction",
        "asks_for_red: added, +0.7 ||x||",
        "— random direction",
    ]
    nearer = rows[2][5].estimate
    assert nearer.value < -0.2
    assert any("can be read off somewhere" in s for s in section.sentences)


def test_numbers_for_comparison_count_what_was_found_and_what_it_did(study, read_quantities):
    found = {place[:2]: q for place, q in read_quantities(study, "con").items()}
    assert found["concepts.judged", "vlm"].value.value == 1
    assert found["concepts.found", "vlm"].value.value == 1
    assert found["concepts.in_other_tasks", "vlm"].value.low is None
    rates = [found[f"concepts.ablation.{w}", ""] for w in ("zero_effect", "destroyed")]
    assert [r.value for r in rates] == [None, None]  # too few pairs to tell either
    assert {r.why_not for r in rates} == {UNTOLD}
    assert ("concepts.steer_0_7.destroyed", "") in found


def test_one_kept_file_holds_the_tested_directions(run):
    kept = load_directions(run / "analyses" / "con_search" / "directions.safetensors")
    assert list(kept) == ["asks_for_red@vlm.1.resid_post/soft_prompt"]


def test_the_feature_of_the_asked_colour_scores_highest(store, episodes, sae):
    found = score_features(
        store,
        open_encoder(sae),
        load_vocabulary(),
        episodes,
        concepts=["asks_for_red"],
        permutations=99,
    )
    (concept,) = found.concepts
    best = concept.features[0]
    assert best.feature == ASKED
    assert best.stands
    assert best.freq == 1
    assert best.task_held_out > 2
    assert concept.discoveries == 1


def test_features_scored_block_by_block_are_the_same(store, episodes, sae):
    def scores(**more):
        return score_features(
            store,
            open_encoder(sae),
            load_vocabulary(),
            episodes,
            concepts=["asks_for_red", "right"],
            permutations=19,
            **more,
        ).model_dump(exclude={"p", "q"})

    def strongest(found):
        return [[(f["feature"], f["score"], f["low"]) for f in c["features"][:1]]
                for c in found["concepts"]]  # fmt: skip

    assert strongest(scores()) == strongest(scores(max_bytes=8 * 24 * 6 * 50))


def test_an_encoder_of_another_policy_or_point_is_refused(store, episodes, tmp_path):
    made = build({"architecture": "topk", "d_in": 128, "d_sae": 8, "k": 2})
    for origin, says in (
        (Provenance(checkpoint_hash="other", hook_point="vlm.1.resid_post"), "other"),
        (Provenance(hook_point="vlm.1.resid_post"), None),
    ):
        folder = save_sae(tmp_path / f"{says}", made, origin)
        if says is None:
            continue
        with pytest.raises(IncompatibleError, match=says):
            score_features(store, open_encoder(folder), load_vocabulary(), episodes)


def test_concepts_that_say_nothing_are_refused_before_any_scoring(store, episodes, sae):
    for name, why in (("says_reach", "every moment"), ("says_open", "no moment"),
                      ("gripper_open", "not applicable")):  # fmt: skip
        with pytest.raises(UnusableActivations, match=f"{name} .*{why}"):
            score_features(
                store, open_encoder(sae), load_vocabulary(), episodes, concepts=["right", name]
            )


def test_unknown_concepts_are_refused_before_anything_is_played(tmp_path):
    with pytest.raises(StudyFileError, match="asks_for_red"):
        loaded(tmp_path, concepts=["asks_for_rod"])


def test_a_concepts_own_measure_is_its_quantity_or_its_share(episodes):
    vocabulary = load_vocabulary()
    near = own_measure(vocabulary, "asks_for_red", episodes, episodes)
    assert all(0 <= v < 3 for v in near.values())
    share = own_measure(vocabulary, "near_place", episodes, episodes)
    assert len(share) == len(episodes)
    labels = label(vocabulary, episodes)
    some = next(iter(labels.labelled["beginning"].truth))
    assert own_measure(vocabulary, "beginning", episodes, episodes)[some] == pytest.approx(
        labels.labelled["beginning"].truth[some].mean()
    )
    assert own_measure(vocabulary, "says_open", episodes, episodes) == {}


def test_the_commands_list_show_score_and_overview(run, sae, tmp_path):
    def told(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    rows = json.loads(told("list", run, "--arm", "baseline", "--json"))
    verdicts = {row["concept"]: row["verdict"] for row in rows}
    assert verdicts["asks_for_red"] == "usable"
    assert verdicts["grasp"] == "not applicable here"
    shown = json.loads(told("show", "near_place", run, "--json"))
    assert shown["when"] == {"distance": {"of": "places", "below": 0.1}}
    assert shown["steps"]["baseline/unique/red/0"]

    few = ["--arm", "baseline", "--only", "asks_for_red", "--permutations", 19]
    out, html, kept = (tmp_path / n for n in ("scores.json", "maps.html", "found.safetensors"))
    assert "asks_for_red" in told("score", run, sae, *few, "--out", out)
    assert json.loads(out.read_text())["schema_version"] == "vlascope.concept-features/1"
    more = ["--at", "vlm.1.*", "--html", html, "--directions", kept, "--out", tmp_path / "o.json"]
    assert "asks_for_red" in told("overview", run, *few, *more)
    assert "Concepts by layer: vlm" in html.read_text()
    assert len(load_directions(kept)) == 1


def test_each_question_searches_its_own_places_whatever_else_was_recorded(tmp_path):
    recipes = {
        name: {**RECIPE, "at": [f"vlm.{at}.resid_post"]} for name, at in [("a", 1), ("b", 2)]
    }
    written = {**STUDY, "tasks": ["suite:shared"], "seeds": "0-1", "recipes": recipes}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(written))
    run_study(load_study(tmp_path / "study.yaml"), tmp_path / "run", progress=False)
    assert _searched(tmp_path / "run", "a") == {"vlm.1.resid_post"}
    assert _searched(tmp_path / "run", "b") == {"vlm.2.resid_post"}


def _searched(run, name):
    found = json.loads((run / f"toy/analyses/{name}_search/overview.json").read_text())
    return {point for point, _ in found["places"]}
