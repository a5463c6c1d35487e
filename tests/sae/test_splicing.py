"""Autoencoders spliced into the toy policy, whose causes are known."""

from __future__ import annotations

import pytest
import torch

from vlascope.errors import (
    EditMisfired,
    FileMissing,
    IncompatibleError,
    MisalignedActivations,
)
from vlascope.hooks import Firing, HookPoint, Moment, TokenSpans
from vlascope.interventions import ProjectOut, RandomDirection, Steer, parse_intervention
from vlascope.noise import generator_for
from vlascope.plugins import saes
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_adapters.toy.weights import COLOURS, VLM
from vlascope_benchmarks.toy.env import ToyBenchmark
from vlascope_sae.architectures import build
from vlascope_sae.controls import (
    controls_of,
    feature_direction,
    firing_rate_matches,
    matched_edit,
    random_edit,
)
from vlascope_sae.files import Provenance, Trained, save_sae
from vlascope_sae.splicing import FeatureEdit, Reconstruct

AT = "vlm.1.resid_post"
WIDTH = 128
ASKED = {colour: VLM["asked"].start + i for i, colour in enumerate(COLOURS)}
"""Features of the perfect dictionary that say which colour is asked for."""
FIRING = Firing(HookPoint.parse(AT), 0, (Moment("e", 0, 0),))
NORMALISATIONS = ("none", "zscore", "unit_norm", "layer_norm")


@pytest.fixture(scope="module")
def policy():
    return ToyAdapter.from_pretrained()


@pytest.fixture(scope="module")
def world():
    return ToyBenchmark()


def perfect(width=WIDTH):
    """A dictionary of every dimension's two signs: x = relu(x) - relu(-x), exactly."""
    sae = build({"architecture": "topk", "d_in": width, "d_sae": 2 * width, "k": 2 * width})
    signs = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        sae.W_dec.copy_(signs)
        sae.W_enc.copy_(signs.T)
    return sae


def poor(normalise="none", **settings):
    """A random dictionary that explains little, its normalisation fitted."""
    config = {"architecture": "topk", "d_in": 12, "d_sae": 40, "k": 5, "normalise": normalise}
    sae = build(config | settings)
    sae.normalise_in.fit(rows(200, 12))
    return sae


def rows(n, width, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, width, generator=generator) + torch.arange(width)


@pytest.fixture
def folder(tmp_path, policy):
    """The perfect dictionary on disk, trained at AT of the toy policy (or so it says)."""
    info = policy.info
    origin = Provenance(adapter="toy", checkpoint_hash=info.checkpoint_hash, hook_point=AT)
    return str(save_sae(tmp_path / "sae", perfect(), origin))


def play(policy, world, task, *edits, seed=3):
    """One episode under some edits: the tasks whose goal was reached, and the first receipt."""
    world.reset(task, seed=seed)
    reached = set()
    with policy.intervene(*edits) as editing:
        for chunk in range(world.info.max_steps // policy.info.executed_steps):
            moment = Moment("episode", chunk * policy.info.executed_steps, chunk)
            noise = generator_for(seed, chunk)
            found = policy.infer([world.observe()], generators=[noise], moments=[moment])
            for action in found.actions[0][: policy.info.executed_steps]:
                held = world.step(action).predicates
                reached |= {name for name, holds in held.items() if holds}
    return reached, editing.receipts[0]


def test_a_perfect_dictionary_changes_no_action(policy, folder):
    seen = [policy.example_observation(i) for i in range(3)]
    plain = policy.infer(seen).actions
    with policy.intervene(Reconstruct(at=AT, sae=folder)) as editing:
        assert policy.infer(seen).actions == pytest.approx(plain, abs=1e-6)
    (receipt,) = editing.receipts
    assert receipt.edits == receipt.expected == 3
    assert receipt.dx_ratio_max < 1e-6


def test_a_dictionary_without_the_asked_colours_gets_lost(policy, world):
    sae = perfect()
    with torch.no_grad():
        sae.W_dec[list(ASKED.values())] = 0
    splice = Reconstruct(at=AT, sae=sae)
    assert play(policy, world, "unique/red", splice)[0] == {"unique/red"}
    assert play(policy, world, "shared/red", splice)[0] == set()


def test_ablating_a_colours_feature_sends_the_point_elsewhere(policy, world, folder):
    edit = FeatureEdit(
        at=AT, tokens="soft_prompt", sae=folder, features=ASKED["red"], mode="ablate"
    )
    reached, receipt = play(policy, world, "shared/red", edit)
    assert reached == set()
    assert receipt.dx_ratio_mean > 0.1
    reached, receipt = play(policy, world, "shared/blue", edit)
    assert reached == {"shared/blue"}
    assert receipt.dx_ratio_max == 0


def test_clamping_another_colours_feature_sends_the_point_there(policy, world, folder):
    where = {"at": AT, "tokens": "soft_prompt", "sae": folder}
    away = FeatureEdit(**where, features=ASKED["red"], mode="ablate")
    there = FeatureEdit(**where, features=ASKED["green"], mode="clamp", value=1.0)
    assert play(policy, world, "shared/red", away, there)[0] == {"shared/green"}


def test_controls_of_the_same_edit_send_the_point_nowhere_else(policy, world, folder):
    edit = FeatureEdit(
        at=AT, tokens="soft_prompt", sae=folder, features=ASKED["red"], mode="ablate"
    )
    with policy.record(AT) as cache:
        for task in ("shared/red", "shared/green", "shared/blue"):
            policy.infer([world.reset(task, seed=3)])
    prompts = cache.stack(AT)[:, 0, -1]
    rates = (perfect().encode(prompts) > 0).float().mean(0)
    controls = controls_of(edit, rates)
    assert set(controls) == {"identity", "random_direction", "firing_rate_matched"}
    matched = controls["firing_rate_matched"]
    assert matched.features != edit.features
    assert rates[list(matched.features)] == pytest.approx(rates[list(edit.features)])
    for role in ("identity", "firing_rate_matched"):
        assert play(policy, world, "shared/red", controls[role])[0] == {"shared/red"}
    reached, receipt = play(policy, world, "shared/red", controls["random_direction"])
    assert reached <= {"shared/red"}
    assert receipt.dx_ratio_mean > 0.1


@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_no_edited_latent_changes_an_activation_stays_bit_for_bit(normalise, dtype):
    sae, x = poor(normalise), rows(6, 12, seed=1).to(dtype).reshape(2, 3, 12)
    fired = (sae.encode(x.float()) != 0).reshape(-1, 40)
    silent = int((~fired.any(0)).nonzero()[0])
    busy = int(fired.any(0).nonzero()[0])
    ablate = FeatureEdit(at=AT, sae=sae, features=silent, mode="ablate")
    keep = FeatureEdit(at=AT, sae=sae, features=busy, mode="scale", value=1.0)
    assert torch.equal(ablate.edit(x, FIRING), x)
    assert torch.equal(keep.edit(x, FIRING), x)


@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize(
    ("mode", "value"), [("scale", 3.0), ("clamp", 2.5), ("add", -0.5), ("ablate", None)]
)
def test_an_edit_adds_what_the_decoder_makes_of_the_change(normalise, mode, value):
    sae, x = poor(normalise), rows(6, 12, seed=1)
    z = sae.encode(x)
    changed = z.clone()
    for f in (3, 17):
        old = z[:, f]
        changed[:, f] = {
            "scale": old * 3, "clamp": torch.full_like(old, 2.5),
            "add": (old - 0.5).clamp_min(0), "ablate": 0 * old,
        }[mode]  # fmt: skip
    wanted = x + sae.decode(changed, like=x) - sae.decode(z, like=x)
    edit = FeatureEdit(at=AT, sae=sae, features=(3, 17), mode=mode, value=value)
    torch.testing.assert_close(edit.edit(x[None], FIRING)[0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", saes())
def test_every_architecture_can_be_edited(architecture):
    sparse = architecture in ("topk", "batch_topk", "matryoshka", "temporal")
    settings = {"k": 5} if sparse else {}
    sae = build({"architecture": architecture, "d_in": 12, "d_sae": 40} | settings).eval()
    x = rows(30, 12, seed=1)
    z = sae.encode(x)
    feature = int((z != 0).sum(0).argmax())
    changed = z.clone()
    changed[:, feature] *= 3
    edit = FeatureEdit(at=AT, sae=sae, features=feature, mode="scale", value=3.0)
    wanted = x + sae.decode(changed, like=x) - sae.decode(z, like=x)
    torch.testing.assert_close(edit.edit(x[None], FIRING)[0], wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(edit.edit(x[None], FIRING)[0][z[:, feature] == 0], x[z[:, feature] == 0])
    spliced = Reconstruct(at=AT, sae=sae).edit(x[None], FIRING)[0]
    torch.testing.assert_close(spliced, sae(x))


def test_every_token_is_encoded_by_itself_also_where_training_pooled():
    x = rows(5, 12, seed=2)
    splice = Reconstruct(at=AT, sae=Trained(poor("layer_norm"), Provenance(pool="mean")))
    whole = splice.edit(x[None], FIRING)[0]
    alone = [splice.edit(row[None, None], FIRING)[0, 0] for row in x]
    torch.testing.assert_close(whole, torch.stack(alone))


def test_an_edit_survives_json_and_reads_its_folder_only_when_used(folder):
    edit = FeatureEdit(at=AT, sae=folder, features=(1, 2), mode="scale", value=2.0)
    again = parse_intervention(edit.model_dump(mode="json"))
    assert again == edit
    x = torch.randn(1, 2, WIDTH)
    assert torch.equal(again.edit(x, FIRING), edit.edit(x, FIRING))
    assert again.sae.sae() is edit.sae.sae()
    nowhere = parse_intervention(edit.model_dump(mode="json") | {"sae": "no/such/folder"})
    with pytest.raises(FileMissing, match="no/such/folder"):
        nowhere.edit(x, FIRING)


def test_an_sae_in_memory_has_no_json():
    with pytest.raises(ValueError, match="save it with save_sae"):
        Reconstruct(at=AT, sae=poor()).model_dump_json()


def test_a_folder_that_was_trained_anew_is_read_anew_and_refused_where_pinned(policy, folder):
    edit, x = Reconstruct(at=AT, sae=folder), torch.randn(1, 2, WIDTH)
    pinned = edit.pinned()
    assert torch.allclose(edit.edit(x, FIRING), x)
    halved = perfect()
    with torch.no_grad():
        halved.W_dec.mul_(0.5)
    origin = edit.sae.trained().provenance
    save_sae(folder, halved, origin, replace=True)
    assert torch.allclose(edit.edit(x, FIRING), x / 2)
    with pytest.raises(IncompatibleError, match="other weights"), policy.intervene(pinned):
        pass


def refused(policy, edit, match):
    with pytest.raises(IncompatibleError, match=match), policy.intervene(edit):
        pass


def test_another_width_place_or_checkpoint_is_refused_before_anything_runs(policy, folder):
    refused(policy, Reconstruct(at="expert.0.resid_post", sae=folder), "128 wide.*is 32 wide")
    refused(policy, Reconstruct(at="vlm.2.resid_post", sae=folder), f"trained at {AT}")
    other = ToyAdapter.tiny(1)
    edit = Reconstruct(at=AT, sae=folder)
    refused(other, edit, "was trained on toy")
    refused(other, RandomDirection(at=AT, like=edit), "was trained on toy")
    with other.intervene(edit.restricted(any_checkpoint=True)):
        other.infer([other.example_observation()])


def test_a_wrong_width_is_refused_also_where_the_pathway_declares_none():
    with pytest.raises(MisalignedActivations, match=r"12 wide.*128 wide"):
        Reconstruct(at=AT, sae=poor()).edit(torch.zeros(1, 2, WIDTH), FIRING)


def test_another_normalisation_is_refused(policy):
    config = {"architecture": "topk", "d_in": WIDTH, "d_sae": 4, "k": 2, "normalise": "zscore"}
    sae = build(config)
    refused(policy, Reconstruct(at=AT, sae=sae), "never fitted")
    sae.normalise_in.fit(rows(50, WIDTH) / 1e4)
    x = rows(9, WIDTH)[None]
    with pytest.raises(IncompatibleError, match="times as large as those it was trained on"):
        Reconstruct(at=AT, sae=sae).edit(x, FIRING)
    Reconstruct(at=AT, sae=sae).edit(x / 1e4, FIRING)


def test_only_the_tokens_that_are_named_are_looked_at_and_edited():
    spans = TokenSpans({"image": (0, 2), "state": (2, 3)})
    firing = Firing(FIRING.point, 0, (Moment("a", 0, 0), Moment("b", 0, 0)), (spans, spans))
    x = rows(6, 12).reshape(2, 3, 12)
    x[:, :2] *= 1e6  # would be refused as another normalisation
    splice = Reconstruct(at=AT, sae=poor("zscore"), tokens="state")
    got = splice.edit(x, firing)
    assert torch.equal(got[:, :2], x[:, :2])
    torch.testing.assert_close(got[:, 2], splice.sae.sae()(x[:, 2]))
    nowhere = splice.restricted(tokens="action").edit(x, firing)
    assert torch.equal(nowhere, x)
    assert nowhere.data_ptr() != x.data_ptr()


def test_tokens_may_be_far_from_what_a_pooled_sae_was_fitted_to():
    sae = poor("zscore")
    x = (1e3 * rows(9, 12))[None]
    with pytest.raises(IncompatibleError, match="times as large"):
        Reconstruct(at=AT, sae=sae).edit(x, FIRING)
    Reconstruct(at=AT, sae=Trained(sae, Provenance(pool="mean"))).edit(x, FIRING)


def test_a_transcoder_is_refused(policy):
    sae = build({"architecture": "topk", "d_in": WIDTH, "d_out": WIDTH, "d_sae": 4, "k": 2})
    refused(policy, Reconstruct(at=AT, sae=sae), "transcoder")


def test_features_that_do_not_exist_and_values_that_make_no_sense_are_refused():
    with pytest.raises(MisalignedActivations, match=r"features 0\.\.39; there is no \[40\]"):
        FeatureEdit(at=AT, sae=poor(), features=(1, 40), mode="ablate").edit(
            rows(1, 12)[None], FIRING
        )
    for wrong in ({"mode": "ablate", "value": 1.0}, {"mode": "scale"}):
        with pytest.raises(ValueError, match="takes no value"):
            FeatureEdit(at=AT, sae="x", features=1, **wrong)
    with pytest.raises(ValueError, match="named twice"):
        FeatureEdit(at=AT, sae="x", features=(1, 1), mode="ablate")


def test_an_edit_that_never_fires_is_an_error_as_for_every_intervention(policy, folder):
    late = Reconstruct(at=AT, sae=folder, steps=(100, 200))
    with pytest.raises(EditMisfired, match="sae_reconstruct"), policy.intervene(late):
        policy.infer([policy.example_observation()])


def test_matches_have_the_closest_rates_and_are_never_edited_ones_nor_twice():
    rates = [0.5, 0.49, 0.1, 0.11, 0.0, 0.001, 0.48]
    found = firing_rate_matches(rates, (0, 2))
    assert [(m.feature, m.control) for m in found] == [(0, 1), (2, 3)]
    assert (found[0].rate, found[0].control_rate) == (0.5, 0.49)
    both = firing_rate_matches(rates, (0, 1))
    assert len({m.control for m in both}) == 2
    assert not {m.control for m in both} & {0, 1, 4}
    assert firing_rate_matches(rates, (0,), exclude=(1,))[0].control == 6
    edit = FeatureEdit(at=AT, sae="x", features=(2, 0), mode="scale", value=0.5)
    assert matched_edit(edit, found).features == (3, 1)
    assert matched_edit(edit, found).value == 0.5


def test_ties_are_decided_by_the_seed():
    rates = torch.full((100,), 0.25)
    drawn = [firing_rate_matches(rates, (7,), seed=s)[0].control for s in range(20)]
    assert drawn == [firing_rate_matches(rates, (7,), seed=s)[0].control for s in range(20)]
    assert len(set(drawn)) > 5
    assert 7 not in drawn


def test_features_that_never_fire_or_have_no_counterpart_are_refused():
    with pytest.raises(IncompatibleError, match=r"\[1\] never fired"):
        firing_rate_matches([0.1, 0.0, 0.2], (1,))
    with pytest.raises(IncompatibleError, match="there are 1"):
        firing_rate_matches([0.1, 0.1, 0.2], (0, 1))


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_a_features_direction_is_the_one_along_which_it_moves_activations(normalise):
    sae, x = poor(normalise), rows(4, 12)
    moved = FeatureEdit(at=AT, sae=sae, features=8, mode="add", value=1.0).edit(x[None], FIRING)
    direction = feature_direction(sae, 8)
    assert direction.norm() == pytest.approx(1)
    cosines = torch.cosine_similarity(moved[0] - x, direction[None])
    torch.testing.assert_close(cosines, torch.ones(4), rtol=0, atol=1e-4)
    steered = Steer(at=AT, direction=direction, strength=2.0).edit(x[None], FIRING)
    projected = ProjectOut(at=AT, directions=direction).edit(steered, FIRING)
    assert (projected[0] @ direction).abs().max() < 1e-3
    with pytest.raises(IncompatibleError, match="there is no 40"):
        feature_direction(sae, 40)


def test_a_random_edit_moves_each_token_as_far():
    edit = FeatureEdit(at=AT, sae=poor(), features=8, mode="add", value=1.0)
    x = rows(4, 12)[None]
    ours, random = (e.edit(x, FIRING) - x for e in (edit, random_edit(edit, seed=4)))
    torch.testing.assert_close(ours.norm(dim=-1), random.norm(dim=-1), rtol=1e-4, atol=1e-5)
    assert torch.cosine_similarity(ours, random, dim=-1).abs().max() < 0.95
