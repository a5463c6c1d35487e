"""On the toy policy a good autoencoder keeps success and a spoilt one loses it."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binom

from vlascope.errors import StudyFileError, UnknownName, UnusableActivations
from vlascope.hooks import Pathway
from vlascope.plugins import analysis_class, recipe_class
from vlascope.report import collect
from vlascope.sections import Table
from vlascope.statistics import Pair, compare, holm, mcnemar_p
from vlascope.study.analysing import read_results
from vlascope.study.design import design
from vlascope.study.execution import run_study
from vlascope.study.expansion import recipe_of
from vlascope.study.loading import load_study
from vlascope.study.measuring import Measuring
from vlascope.study.recipe import Reading
from vlascope.study.run_directory import read_run
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_sae.files import load_sae
from vlascope_sae.recipes.hooked import Hooked
from vlascope_sae.recipes.options import At, SAEOptions

STUDY = """
name: toy-saes
policies:
  toy: {adapter: toy, checkpoint: bundled}
benchmark: {name: toy}
tasks: ["suite:shared"]
seeds: 0-3
max_steps: 40
workers: 1
envs_per_worker: 8
recipes:
  good:
    kind: saes
    at: {pathways: [expert, trunk], depth: mid}
    expansion: 2
    k: 32
    per: token
    normalise: zscore
    steps: 400
    lr: 0.005
    situations: 6
    random_direction: false
    other_l0: [0.25, 0.03125]
  spoilt:
    kind: saes
    at: {pathways: vlm, depth: 0.5}
    expansion: 0.25
    k: 1
    steps: 2
    situations: 6
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saes")
    (folder / "study.yaml").write_text(STUDY)
    outcome = run_study(load_study(folder / "study.yaml"), folder / "run", progress=False)
    assert outcome.arms["toy"]["good_trunk_token"].status == "skipped"
    assert {o.status for o in outcome.arms["toy"].values()} == {"ok", "skipped"}
    return folder / "run"


@pytest.fixture(scope="module")
def sections(run):
    return {s.name: s for s in collect(run).sections}


@pytest.fixture(scope="module")
def quantities(run):
    manifest, episodes, _ = read_run(run)
    measuring = Measuring(design(manifest.study), episodes)
    results = read_results(run / "toy", manifest.study)
    return {
        name: {
            (q.key.removeprefix("saes."), q.pathway): q
            for q in recipe_of(manifest.study, name).quantities(
                Reading(name, "toy", measuring, results)
            )
        }
        for name in manifest.study.recipes
    }


def tables(section):
    return {b.title: b for b in section.blocks if isinstance(b, Table)}


@pytest.mark.slow
def test_a_good_autoencoder_explains_nearly_everything_and_keeps_success(quantities):
    good = quantities["good"]
    assert good["fvu.token", "expert"].value.value < 0.05
    assert good["fvu.token", "expert"].value.n == 3
    assert good["hooked_success.token", "expert"].value.value == 0
    assert good["hooked_rate.token", "expert"].value.value == 1
    assert good["action_fidelity.token", "expert"].value.value > 0.8
    assert good["l0.token", "expert"].value.value <= 32


@pytest.mark.slow
def test_other_sparsities_are_judged_beside_it_and_not_played(quantities, sections, run):
    good = quantities["good"]
    l0 = [good[f"l0.token{v}", "expert"].value.value for v in ("_1_in_32", "_1_in_4", "")]
    fvu = [good[f"fvu.token{v}", "expert"].value.value for v in ("_1_in_32", "_1_in_4", "")]
    assert l0[0] < l0[1] < l0[2]
    assert fvu[0] > fvu[1] > fvu[2]
    assert good["action_fidelity.token_1_in_32", "expert"].value.n == 3
    assert not [k for k, _ in good if k.startswith("hooked") and "1_in" in k]
    (table,) = [t for name, t in tables(sections["good"]).items() if name == "Against sparsity"]
    assert len(table.rows) == 3
    assert [row[2].estimate.value for row in table.rows] == l0


def test_sparsities_that_are_all_but_the_same_are_refused():
    at = At(pathways=("expert",))
    with pytest.raises(ValidationError, match="all but the same"):
        SAEOptions(at=at, other_l0=(0.125, 0.124))


@pytest.mark.slow
def test_of_a_splice_that_changes_nothing_nothing_is_claimed(sections):
    assert not any("replaced by its reconstruction" in s for s in sections["good"].sentences)
    (said,) = [s for s in sections["good"].unresolved if "against unhooked" in s]
    assert "cannot resolve differences below" in said


@pytest.mark.slow
def test_a_spoilt_autoencoder_loses_success_and_the_plans(quantities, sections):
    spoilt = quantities["spoilt"]
    for kind in ("token", "pooled"):
        assert spoilt[f"hooked_success.{kind}", "vlm"].value.value < -0.6
        assert spoilt[f"hooked_success.{kind}", "vlm"].p <= 0.05
        assert spoilt[f"action_error.{kind}", "vlm"].value.value > 0.1
    assert spoilt["l0.token", "vlm"].value.value <= 1
    said = [s for s in sections["spoilt"].sentences if "replaced by its reconstruction" in s]
    assert len(said) == 2
    assert all("an error of equal norm in a random direction" in s for s in said)


@pytest.mark.slow
def test_numbers_say_where_in_the_network_they_are(quantities):
    for held in quantities.values():
        for (_, pathway), q in held.items():
            assert (q.depth, q.site) == ("mid", "resid_post")
            assert q.at == {"trunk": None, "vlm": pytest.approx(2 / 3), "expert": 1}[pathway]
    keys = {k for k, _ in quantities["spoilt"]}
    assert {"hooked_success.token_minus_pooled", "spliced_fvu.pooled", "l0_relative.token",
            "general_share.token", "action_error_random.pooled"} <= keys  # fmt: skip


@pytest.mark.slow
def test_a_pathway_that_the_policy_lacks_is_said_to_be_missing(quantities, sections):
    why = quantities["good"]["fvu.token", "trunk"].why_not
    assert why == "no such pathway; this policy has vision, vlm, expert"
    assert f"trunk: {why}." in sections["good"].unresolved


@pytest.mark.slow
def test_units_other_than_the_classifiers_are_said(sections):
    said = {n: any("layer_norm" in s for s in held.unresolved) for n, held in sections.items()}
    assert said == {"good": True, "spoilt": False}


@pytest.mark.slow
def test_every_share_of_general_features_stands_beside_the_firing_rates(sections):
    table = tables(sections["spoilt"])["General or memorised"]
    assert {"general", "firing rate, general", "memorised", "AUC"} <= set(table.columns)
    assert "says little more than" in table.caption


@pytest.mark.slow
def test_what_is_spliced_in_is_kept_with_where_it_was_trained(run):
    kept = load_sae(run / "toy" / "analyses" / "spoilt_training" / "vlm.2.resid_post" / "pooled")
    assert kept.provenance.hook_point == "vlm.2.resid_post"
    assert kept.provenance.pool == "mean"
    assert len(kept.provenance.training["held_out"]) == 3
    assert kept.provenance.checkpoint_hash == ToyAdapter.from_pretrained().info.checkpoint_hash


@pytest.mark.slow
def test_a_second_run_trains_and_plays_nothing_again(run, sections):
    files = [*run.rglob("*.safetensors"), *run.rglob("episodes.jsonl")]
    before = {f: f.stat().st_mtime_ns for f in files}
    study = load_study(run.parent / "study.yaml")
    assert run_study(study, run, progress=False).arms["toy"]["spoilt_vlm_token"].status == "ok"
    assert {f: f.stat().st_mtime_ns for f in files} == before


def test_arms_that_play_as_the_baseline_does_are_claimed_no_more_often_than_the_level():
    rng, claims, repetitions = np.random.default_rng(0), 0, 200
    for _ in range(repetitions):
        arms, own = rng.random((2, 4, 12)) < 0.7
        pairs = list(zip(arms, own, strict=True))
        ps = holm([mcnemar_p(int((a & ~o).sum()), int((o & ~a).sum())) for a, o in pairs])
        if min(ps) <= 0.05:
            claims += any(
                _hooked(a, o, p).changed(0.05) for (a, o), p in zip(pairs, ps, strict=True)
            )
    assert claims <= binom.ppf(0.999, repetitions, 0.05)


def _hooked(arm, own, p):
    pairs = [
        Pair(str(i % 4), float(a), float(o)) for i, (a, o) in enumerate(zip(arm, own, strict=True))
    ]
    found = compare(pairs, binary=True)
    return Hooked(
        pathway="vlm",
        per="token",
        arm="x",
        point="vlm.0.resid_post",
        success=found.difference,
        unhooked=found,
        identity=None,
        random=None,
        random_success=None,
        p=p,
        ratio=None,
    )


def test_size_and_sparsity_follow_the_width():
    options = SAEOptions(at={"pathways": "vlm"}, expansion=4, l0=0.1)
    for width in (32, 128):
        config = options.config(width)
        assert (config["d_sae"], config["k"]) == (4 * width, round(0.1 * width))


def test_a_depth_is_the_same_share_of_every_pathway():
    assert At(pathways=["vlm"], depth="late").glob("vlm") == "vlm.83%.resid_post"
    assert (At(pathways=["a"], depth=0.9).third, At(pathways=["a"], depth=0.2).third) == (
        "late",
        "early",
    )


def test_pathways_of_words_and_actions_are_suggested():
    streams = {"eyes": ("image.top",), "words": ("image.top", "instruction"), "hand": ("action",)}
    pathways = [Pathway(name, 4, 8, mixes=mixes) for name, mixes in streams.items()]
    suggested = recipe_class("saes").suggested(pathways)
    assert suggested["at"]["pathways"] == ["words", "hand"]
    assert recipe_class("saes").model_validate(suggested).at.depth == "mid"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seeds: 0-3", "seeds: 0", "add tasks or seeds"),
        ("k: 1\n", "k: 1\n    l0: 0.1\n", "not both"),
        ("depth: 0.5", "depth: middle", "depth"),
        ("steps: 2\n", "steps: 2\n    fit: liberro\n", "libero"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, old, new, complaint):
    (tmp_path / "study.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(StudyFileError, match=complaint):
        load_study(tmp_path / "study.yaml")


def test_a_policy_without_any_of_the_pathways_is_refused_by_name():
    analysis = analysis_class("sae_training")(arms=("baseline",), at={"pathways": "vln"})
    with pytest.raises(UnknownName, match="vlm"):
        analysis.check(ToyAdapter.from_pretrained().info)


def test_too_few_finished_episodes_are_refused_with_what_to_do():
    from vlascope_sae.recipes.analysis import _enough

    with pytest.raises(UnusableActivations, match="add seeds or tasks"):
        _enough({})


def test_more_latents_than_there_are_cannot_fire():
    from vlascope.errors import IncompatibleError

    with pytest.raises(IncompatibleError, match="smaller `k`"):
        SAEOptions(at={"pathways": "vlm"}, expansion=1, k=40).config(32)
