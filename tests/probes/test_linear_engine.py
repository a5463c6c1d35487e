"""Ridge from sums is scikit-learn's; where there is nothing, nothing is found; spans remove all."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge as SklearnRidge

from vlascope.directions import load_directions, save_directions
from vlascope.errors import UnusableActivations
from vlascope_probes.linear.fitting import fit_features
from vlascope_probes.linear.grams import Moments, Ridge, cross_validated
from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.removal import span_of
from vlascope_probes.linear.rows import Block, HeldFeatures
from vlascope_probes.linear.shuffles import shuffled
from vlascope_probes.linear.targets import Target, catalogue, chosen

POINT = "vlm.0.resid_post"


def smooth(rng, steps, width):
    """A random walk: consecutive moments are alike, as activations are."""
    return rng.standard_normal((steps, width)).cumsum(0)


def world(seed, episodes=12, steps=8, width=6):
    """Rows of activations that know nothing, and what `fit_features` asks of each episode."""
    rng = np.random.default_rng(seed)
    names = tuple(f"a/t/{i}" for i in range(episodes))
    x = np.concatenate([smooth(rng, steps, width) for _ in names]).astype(np.float32)
    episode = np.repeat(np.arange(episodes), steps)
    features = HeldFeatures(names, Block(x, episode, np.tile(np.arange(steps), episodes)))
    nothing = SimpleNamespace(state={}, hand=None, steps=steps)
    return features, dict.fromkeys(names, nothing), rng


def numbers(features, courses, name="y", shuffle="track"):
    tracks = dict(zip(features.episodes, courses, strict=True))
    return Target(name, "regression", tracks, shuffle)


def labels(features, values, steps=8):
    tracks = {
        n: np.array([v] * steps, object) for n, v in zip(features.episodes, values, strict=True)
    }
    return Target("label", "classification", tracks, "track")


def test_ridge_from_sums_is_scikit_learns_ridge_on_standardised_rows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 7)) * np.arange(1, 8) + 5
    y = x @ rng.standard_normal((7, 3)) + rng.standard_normal((200, 3))
    z = (x - x.mean(0)) / x.std(0)
    for penalty in (1e-3, 1.0, 30.0):
        (ours,) = Ridge.path(Moments.of(x, y), [penalty])
        theirs = SklearnRidge(alpha=penalty * 200).fit(z, y)
        assert np.allclose(x @ ours.weights + ours.intercept, theirs.predict(z), atol=1e-8)


def test_held_out_error_from_sums_is_that_of_predicting_each_row():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((90, 5)) + 3, rng.standard_normal((90, 2))
    parts = [Moments.of(x[i::3], y[i::3]) for i in range(3)]
    for i, fit in enumerate(cross_validated(parts)):
        direct = ((y[i::3] - x[i::3] @ fit.weights - fit.intercept) ** 2).sum(0)
        assert np.allclose(parts[i].squared_error(fit.weights, fit.intercept), direct)


def test_numbers_that_activations_know_nothing_of_are_found_at_the_nominal_rate():
    options = ProbeOptions(folds=3, controls=19, held_out_tasks=False)
    found = []
    for seed in range(200):
        features, evidence, rng = world(seed)
        target = numbers(features, [smooth(rng, 8, 1)[:, 0] for _ in features.episodes])
        found.append(fit_features(features, POINT, [target], evidence, options)[0])
    assert sum(s.p <= 0.05 for s in found) <= binom.ppf(0.999, 200, 0.05)
    assert np.mean([s.score.value for s in found]) < 0.0
    assert abs(np.mean([s.selectivity for s in found])) < 0.1


@pytest.mark.slow
def test_labels_that_activations_know_nothing_of_are_found_at_the_nominal_rate():
    options = ProbeOptions(folds=2, label_controls=4, held_out_tasks=False)
    found = []
    for seed in range(200):
        features, evidence, rng = world(seed, width=2)
        target = labels(features, rng.permutation([0, 1] * 6).tolist())
        found.append(fit_features(features, POINT, [target], evidence, options)[0])
    assert sum(s.p <= 0.2 for s in found) <= binom.ppf(0.999, 200, 0.2)
    assert np.mean([s.score.value for s in found]) == pytest.approx(0.5, abs=0.05)


def test_what_is_linear_in_the_activations_is_found_and_beats_its_control():
    features, evidence, rng = world(3, episodes=20)
    hidden = features.block.x @ rng.standard_normal(6)
    target = numbers(features, hidden.reshape(20, 8))
    (score,) = fit_features(features, POINT, [target], evidence, ProbeOptions(held_out_tasks=False))
    assert score.score.value > 0.999
    assert score.p == 0.05
    assert score.selectivity > 0.9


def test_a_span_taken_out_leaves_nothing_and_a_random_one_leaves_it_all(tmp_path):
    features, _, _ = world(4, episodes=20, width=24)
    hidden = features.block.x[:, :2] @ np.array([1.0, -1.0])
    target = numbers(features, hidden.reshape(20, 8))
    span = span_of(features, POINT, [target], ProbeOptions())
    assert span.removal.before > 0.99
    assert span.removal.after < 0.02
    assert span.removal.random > 0.9
    assert span.removal.dimensions == span.subspace.basis.shape[0] == span.random.basis.shape[0]
    path = save_directions(
        tmp_path / "d.safetensors", [span.subspace, span.random, *span.directions]
    )
    read = load_directions(path)
    assert read.subspace(f"{POINT}/y").at == POINT
    weights = read.direction(f"{POINT}/y/weights")
    assert abs(weights.unit[0] - 2**-0.5) < 0.02
    assert weights.scale > 0


def test_labels_have_a_direction_each_and_a_span_of_one_dimension_fewer():
    features, _, _ = world(5, episodes=21, width=10)
    kinds = [i % 3 for i in range(21)]
    features.block.x[:] += 30 * np.eye(10)[np.repeat(kinds, 8)]
    target = labels(features, kinds)
    span = span_of(features, POINT, [target], ProbeOptions())
    assert span.removal.dimensions == 2
    assert span.removal.after < 0.02 < span.removal.before
    named = {d.name: d.unit for d in span.directions}
    assert np.argmax(named[f"{POINT}/label=2/pattern"][:3]) == 2


def test_a_control_deals_the_same_courses_out_anew_and_leaves_gaps_where_they_are():
    features, _, rng = world(6)
    courses = [smooth(rng, 8, 1)[:, 0] for _ in features.episodes]
    courses[0][-1] = np.nan
    dealt = shuffled(numbers(features, courses), np.random.default_rng(0))
    assert np.isnan(dealt.tracks[features.episodes[0]]).tolist() == [False] * 7 + [True]
    before = {round(float(v), 9) for c in courses for v in c if np.isfinite(v)}
    after = {round(float(v), 9) for c in dealt.tracks.values() for v in c if np.isfinite(v)}
    assert after <= before
    clock = numbers(features, [np.arange(8.0)] * 12, shuffle="turn")
    turned = shuffled(clock, np.random.default_rng(0)).tracks.values()
    assert all(sorted(t.tolist()) == list(range(8)) for t in turned)
    assert len({tuple(t.tolist()) for t in turned}) > 1


def episode(name, *, success, steps):
    plan = SimpleNamespace(task="t", episode=name)
    record = SimpleNamespace(
        plan=plan, success=success, instruction="go", success_step=steps if success else None
    )
    return SimpleNamespace(
        record=record,
        steps=steps,
        actions=np.zeros((steps, 1)),
        hand=None,
        velocity=None,
        objects={},
        state={},
        predicates={},
        decided_step=record.success_step,
    )


def test_a_success_probe_sees_only_moments_at_which_either_outcome_is_open():
    lengths = {
        "w1": (True, 6),
        "w2": (True, 9),
        "w3": (True, 4),
        "l1": (False, 20),
        "l2": (False, 20),
    }
    evidence = {n: episode(n, success=s, steps=k) for n, (s, k) in lengths.items()}
    tracks = catalogue(evidence)["success"].tracks
    seen = {n: [i for i, v in enumerate(t) if v is not None] for n, t in tracks.items()}
    assert seen["w3"] == list(range(4))
    assert seen["w1"] == seen["w2"] == seen["l1"] == seen["l2"] == list(range(6))


def test_outcomes_that_are_all_alike_are_refused():
    evidence = {n: episode(n, success=True, steps=5) for n in ("a", "b", "c")}
    with pytest.raises(UnusableActivations, match="'success' does not vary"):
        chosen(catalogue(evidence), ["success"])
    usable, skipped = chosen(catalogue(evidence), None)
    assert {t.name for t in usable} == {"phase", "steps_to_go"}
    assert "do all episodes end alike?" in skipped["success"]
