"""General or memorised: the hysteresis, the published fits, and fits to a user's own labels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlascope.errors import CorruptFile, IncompatibleError, UnknownName
from vlascope.hooks import HookPoint, Moment
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder
from vlascope_sae.features import (
    FeatureIndex,
    FeatureLabel,
    FeatureLabels,
    auc,
    build_index,
    classify,
    leave_one_out,
    published_fits,
    refit,
    refit_on_labels,
)
from vlascope_sae.features.classifying import TooFewLabels
from vlascope_sae.features.hysteresis import EpisodeTally, Temporal, count_onsets, on_states

POINT = HookPoint("expert", 0, "resid_post")
SCIKIT_LEARN = [
    -3.664904115840176,
    1.2442679798136678,
    2.2938932647906607,
    0.3903562851044744,
    -0.035876901816838204,
]
"""Of scikit-learn 1.9.1: LogisticRegression(C=1, tol=1e-12, max_iter=10000) on `labelled()`."""


class Positive(SparseAutoencoder):
    """Feature i is dimension i where that is positive."""

    def encode_normalised(self, n):
        return n.clamp_min(0)

    def step(self, x, target, *, dead, progress):
        raise NotImplementedError


def slow_states(values, threshold):
    """The definition, word for word."""
    state, states = False, []
    for value in values:
        if value > threshold:
            state = True
        elif value == 0:
            state = False
        states.append(state)
    return states


def column(values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.11, 3.0]), min_size=1, max_size=30))
def test_the_states_are_those_of_the_definition(values):
    trace = column(values)
    states = on_states(trace)
    slow = slow_states(trace[:, 0].numpy(), np.float32(0.1))
    assert states[:, 0].tolist() == slow
    onsets = sum(now and not before for before, now in zip([False, *slow], slow, strict=False))
    assert count_onsets(states).tolist() == [onsets]


def test_a_small_value_holds_the_state_and_only_zero_switches_off():
    values = [0.05, 0.2, 0.05, 0.0, 0.05, 0.1, 0.3]
    assert on_states(column(values))[:, 0].tolist() == [0, 1, 1, 0, 0, 0, 1]


def test_sums_over_episodes_are_those_of_the_formulas():
    tally = EpisodeTally(2)
    # Feature 0: two onsets and three instants on, of four; feature 1 fires but never comes on.
    tally.add(torch.tensor([[1.0, 0.0], [0.0, 0.05], [2.0, 0.0], [0.01, 0.0]]))
    tally.add(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    tally.add(torch.zeros(3, 2))
    found = tally.result()
    assert found.coverage.tolist() == [2 / 3, 1 / 3]
    assert found.onsets.tolist() == [1.5, 0]
    assert found.magnitude.tolist() == pytest.approx([3.0, 0.05])
    assert found.run_length.tolist() == pytest.approx([(3 / 2 / 4 + 1 / 2) / 2, 0])


def temporal(rows):
    return Temporal(*np.array(rows, np.float64).T)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("libero", (-4.203030788, 1.800856, 1.885843, 0.516386, -0.361145)),
        ("droid", (-1.782451887, 2.355887, 0.740863, 0.348659, -1.044269)),
    ],
)
def test_the_published_fits_are_the_printed_ones(name, weights):
    row = (0.6, 2.5, 1.75, 0.2)
    logit = weights[0] + sum(w * x for w, x in zip(weights[1:], row, strict=True))
    p = published_fits(name)[name].probability(temporal([row, row]), np.array([True, False]))
    assert p[0] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-12)
    assert math.isnan(p[1])


def test_an_unknown_fit_lists_those_there_are():
    with pytest.raises(UnknownName, match="droid"):
        published_fits("bridge")


def labelled(n=30, seed=0):
    rng = np.random.default_rng(seed)
    general = np.arange(n) % 2 == 0
    rows = rng.random((n, 4)) + general[:, None] * np.array([0.5, 1.0, 0.3, 0.0])
    return temporal(rows), general


def test_a_refit_is_what_scikit_learn_finds():
    fit = refit(*labelled())
    found = [fit.intercept, fit.coverage, fit.onsets, fit.magnitude, fit.run_length]
    assert found == pytest.approx(SCIKIT_LEARN, abs=1e-5)
    assert fit.labels == 30


def test_leaving_one_out_never_sees_the_label_it_is_tested_on():
    data, general = labelled()
    p = leave_one_out(data, general)
    without = np.arange(30) != 7
    other = refit(Temporal(*(c[without] for c in data)), general[without])
    one = Temporal(*(c[[7]] for c in data))
    assert p[7] == pytest.approx(other.probability(one, np.array([True]))[0], abs=1e-9)
    noise = np.random.default_rng(1).random(30) > 0.5
    assert ((leave_one_out(data, noise) >= 0.5) == noise).mean() < 0.75


def test_the_area_under_the_curve_counts_pairs_and_halves_ties():
    scores = np.array([3.0, 1.0, 2.0, 1.0])
    assert auc(scores, np.array([True, True, False, False])) == (1 + 1 + 0 + 0.5) / 4
    assert auc(scores, np.array([True] * 4)) is None


@pytest.fixture
def index(tmp_path):
    """Features 0 to 3 fire in every episode, 4 to 7 in one each, 8 never, 9 never above 0.1."""
    about = Provenance(adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*"))
    store = ActivationStore.create(tmp_path / "acts", about)
    for episode in range(8):
        rows = torch.zeros(12, 1, 10)
        for feature in range(4):
            rows[feature :: 3 + feature, 0, feature] = 2.0 + feature
        if episode < 4:
            rows[5, 0, 4 + episode] = 0.5
        rows[3, 0, 9] = 0.05
        name = f"base/t/{episode}"
        entries = [Entry(Moment(name, k, k), (0,), None, row) for k, row in enumerate(rows)]
        store.write(name, {POINT: entries}, {name: {"task": "t"}})
    sae = Positive(SAEConfig(architecture="positive", d_in=10, d_sae=10))
    return FeatureIndex.open(build_index(sae, store, POINT, tmp_path / "index"))


def test_features_that_come_on_often_everywhere_are_general_and_the_dead_are_neither(index):
    found = classify(index, published_fits("libero")["libero"], "libero")
    assert [f.feature for f in found.features if f.general] == [0, 1, 2, 3]
    assert [f.feature for f in found.features if not f.general] == [4, 5, 6, 7, 9]
    assert (found.general, found.memorised, found.dead, found.never_on) == (4, 5, 1, 1)
    assert found.features[0].firing_rate == 4 / 12


def test_the_classification_says_what_the_firing_rate_alone_would_have_said(index):
    found = classify(index, published_fits("libero")["libero"], "libero")
    assert found.firing_rate_auc == 1.0
    assert found.median_firing_rate_memorised == pytest.approx(1 / 96)
    everything = published_fits("libero")["libero"].model_copy(update={"intercept": 99.0})
    one = classify(index, everything, "mine")
    assert one.firing_rate_auc is None
    assert one.median_firing_rate_memorised is None


def with_labels(index, general, memorised):
    labels = FeatureLabels.of(index)
    for feature in general:
        labels = labels.with_label(feature, FeatureLabel(general=True))
    for feature in memorised:
        labels = labels.with_label(feature, FeatureLabel(general=False, words="one episode"))
    return labels


def test_labels_are_kept_beside_the_index_and_fitted_to(index):
    with_labels(index, [0, 1, 2], [4, 5, 6, 8]).save(index)
    again = FeatureLabels.of(FeatureIndex.open(index.path))
    assert again.labels[4] == FeatureLabel(general=False, words="one episode")
    found = refit_on_labels(index, again)
    assert (found.general, found.memorised, found.dead) == (3, 3, (8,))
    assert found.leave_one_out_accuracy == 1.0
    assert found.majority_accuracy == 0.5
    assert found.firing_rate_auc == 1.0
    assert found.fit.onsets > 0


def test_too_few_labels_are_an_error_that_counts_them(index):
    with pytest.raises(TooFewLabels, match="has no labels"):
        refit_on_labels(index, FeatureLabels.of(index))
    with pytest.raises(TooFewLabels, match="there are 1 and 3"):
        refit_on_labels(index, with_labels(index, [0], [4, 5, 6]))


def test_labels_of_another_autoencoder_are_not_these_features(index):
    labels = with_labels(index, [0], [4])
    labels.model_copy(update={"sae_hash": "f" * 64}).save(index)
    with pytest.raises(IncompatibleError, match="nothing in common"):
        FeatureLabels.of(index)
    (index.path / "labels.json").write_text("{}")
    with pytest.raises(CorruptFile, match=r"no vlascope\.feature-labels/1"):
        FeatureLabels.of(index)
