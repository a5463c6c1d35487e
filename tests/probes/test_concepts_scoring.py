"""Scores of planted features are right, and where there is nothing, nothing is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from vlascope_probes.concepts.contrast import LARGEST, Sums, level_of, resampled, without_each
from vlascope_probes.concepts.directions import concept_direction, separate
from vlascope_probes.concepts.labelling import Labelled, Labels, Standing
from vlascope_probes.concepts.nulls import Permuter, discoveries, p_values
from vlascope_probes.concepts.sample import Sample, feature_blocks
from vlascope_probes.concepts.scoring import contrasted, permuter_of

EPISODES, LENGTH = 24, 10
MOST = int(binom.ppf(0.999, 200, 0.05))
"""Discoveries in 200 tries at 5% that luck alone stays under 999 times in a thousand."""


def sample_of(rng, features=20, *, sparse=True, tasks=4):
    """Features with a level of their own in each episode, and drift within it."""
    level = rng.normal(size=(EPISODES, 1, features))
    drift = np.cumsum(rng.normal(size=(EPISODES, LENGTH, features)), axis=1) * 0.3
    values = (level + drift).reshape(-1, features).astype(np.float32)
    values = np.maximum(values, 0) if sparse else values
    episode = np.repeat(np.arange(EPISODES), LENGTH)
    return Sample(
        values,
        (values > 0).astype(np.float32) if sparse else None,
        episode,
        np.tile(np.arange(LENGTH), EPISODES),
        tuple(f"e{i}" for i in range(EPISODES)),
        tuple(f"t{i % tasks}" for i in range(EPISODES)),
    )


def by_episode(rng):
    """A concept of whole episodes."""
    return np.repeat(rng.permutation(np.arange(EPISODES) < EPISODES // 3), LENGTH)


def in_stretches(rng):
    """A concept that holds for four moments in a row somewhere in each episode."""
    truth = np.zeros((EPISODES, LENGTH), bool)
    for row in truth:
        row[(rng.integers(LENGTH) + np.arange(4)) % LENGTH] = True
    return truth.reshape(-1)


def labels_of(truth, *, by_task=False):
    by = {f"e{i}": truth[i * LENGTH : (i + 1) * LENGTH] for i in range(EPISODES)}
    standing = Standing("c", "usable", by_task=by_task)
    return Labels({"c": Labelled("c", by)}, {}, {"c": standing})


def scored(sample, truth, *, by_task=False, permutations=200, seed=0):
    labels = labels_of(truth, by_task=by_task)
    return contrasted(sample, labels, "c", permutations=permutations, tests=20, fdr=0.05, seed=seed)


def test_d_is_the_published_formula():
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(50, 3)), np.arange(50) < 20
    x[truth] += [0, 1, 3]
    inside, outside = x[truth], x[~truth]
    spread = np.sqrt((inside.var(0, ddof=1) + outside.var(0, ddof=1)) / 2)
    expected = (inside.mean(0) - outside.mean(0)) / spread
    assert Sums.of(x, truth).d[0] == pytest.approx(expected)
    fired = (x > 0.5).astype(float)
    score = np.maximum(expected, 0) * fired[truth].mean(0)
    assert Sums.of(x, truth, fired).score[0] == pytest.approx(score)


def test_levels_are_the_published_bounds():
    assert [level_of(d) for d in (0.1, -0.2, 0.8, 2.5)] == ["none", "weak", "strong", "very strong"]


def test_features_that_never_vary_are_no_difference_or_the_largest():
    truth = np.arange(20) < 10
    constant, switch = np.full((20, 1), 3.3), truth[:, None] * 1.0
    assert Sums.of(constant, truth).d[0, 0] == 0
    assert Sums.of(switch, truth).d[0, 0] == LARGEST


def test_a_planted_feature_is_found_and_stands_alone():
    rng = np.random.default_rng(1)
    sample, truth = sample_of(rng), in_stretches(rng)
    sample.values[:, 7] += 2 * truth
    found = scored(sample, truth)
    ((stands, _),) = discoveries({"c": found.p}, 0.05).values()
    assert stands.nonzero()[0].tolist() == [7]
    assert found.score.argmax() == 7
    assert found.within_task[7] > 1


def test_a_feature_of_one_task_does_not_survive_without_that_task():
    rng = np.random.default_rng(2)
    sample = sample_of(rng)
    of = sample.task
    truth = np.isin(of, [0, 1])
    sample.values[:, 3] += 4 * (of == 0)
    sample.values[:, 5] += 4 * truth
    sample.fired[:] = sample.values > 0
    found = scored(sample, truth, by_task=True)
    assert found.score[3] > 0.5
    assert found.task_held_out[3] < 0.4 < found.task_held_out[5]
    assert np.isnan(found.within_task).all()


def test_a_concept_of_one_task_has_no_task_held_out_score():
    rng = np.random.default_rng(3)
    sample = sample_of(rng)
    found = scored(sample, sample.task == 0, by_task=True)
    assert np.isnan(found.task_held_out).all()
    direction = separate_of(sample, sample.task == 0, by_task=True)
    assert direction.task_held_out is None


def separate_of(sample, truth, *, by_task=False, permutations=100, seed=0):
    permuter = permuter_of(sample, truth, by_task=by_task)
    return separate(
        sample, truth, permuter, permutations=permutations, tests=1, fdr=0.05, seed=seed
    )


def test_a_planted_direction_is_recovered_and_separates_other_episodes():
    rng = np.random.default_rng(4)
    sample, truth = sample_of(rng, sparse=False), in_stretches(rng)
    axis = np.linalg.qr(rng.normal(size=(20, 1)))[0][:, 0]
    sample.values[:] += (5 * truth[:, None] * axis).astype(np.float32)
    found = separate_of(sample, truth)
    assert found.auc > 0.9
    assert found.low > 0.85
    assert found.p < 0.01
    assert found.task_held_out > 0.85
    direction = concept_direction(sample, truth, "c", "vlm.1.resid_post", "planted")
    assert abs(direction.unit @ axis) > 0.95


@pytest.mark.parametrize(("chance", "by_task"), [(by_episode, True), (in_stretches, False)])
def test_where_there_is_nothing_discoveries_stay_at_the_nominal_rate(chance, by_task):
    found = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, by_task])
        sample = sample_of(rng)
        p = scored(sample, chance(rng), by_task=by_task, permutations=60, seed=seed).p
        found += discoveries({"c": p}, 0.05)["c"][0].any()
    assert found <= MOST


@pytest.mark.parametrize(("chance", "by_task"), [(by_episode, True), (in_stretches, False)])
def test_where_there_is_nothing_directions_are_found_at_the_nominal_rate(chance, by_task):
    found = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 9, by_task])
        sample = sample_of(rng, 8, sparse=False)
        truth = chance(rng)
        p = separate_of(sample, truth, by_task=by_task, permutations=39, seed=seed).p
        found += p <= 0.05
    assert found <= MOST


def test_labels_keep_their_structure_when_they_move():
    rng = np.random.default_rng(5)
    truth, episode = in_stretches(rng), np.repeat(np.arange(EPISODES), LENGTH)
    strata = np.arange(EPISODES) % 3
    drawn = Permuter(truth, episode, strata).draw(rng, 50).reshape(50, EPISODES, LENGTH)
    assert (drawn.sum(2) == 4).all()
    changes = (drawn != np.roll(drawn, 1, axis=2)).sum(2)
    assert (changes == 2).all()
    assert len({d.tobytes() for d in drawn}) == 50


def test_labels_of_whole_episodes_stay_whole_and_within_their_task():
    rng = np.random.default_rng(6)
    truth, episode = by_episode(rng), np.repeat(np.arange(EPISODES), LENGTH)
    strata = np.arange(EPISODES) % 2
    drawn = Permuter(truth, episode, strata).draw(rng, 50).reshape(50, EPISODES, LENGTH)
    assert (drawn.min(2) == drawn.max(2)).all()
    before = truth.reshape(EPISODES, LENGTH)[:, 0]
    for stratum in (0, 1):
        assert (drawn[:, strata == stratum, 0].sum(1) == before[strata == stratum].sum()).all()


def test_the_smallest_p_values_are_drawn_for_again():
    observed = np.array([9.0, 0.0])
    permuter = Permuter(np.arange(40) < 20, np.repeat(np.arange(4), 10), np.zeros(4, np.int64))

    def chance(drawn, columns):
        return np.random.default_rng(0).normal(size=(len(drawn), len(columns)))

    p = p_values(chance, observed, permuter, permutations=99, tests=50, level=0.05)
    assert p[0] == pytest.approx(1 / 2001)
    assert 0.3 < p[1] < 0.7


def test_features_that_never_vary_are_no_tests():
    rng = np.random.default_rng(8)
    sample = sample_of(rng)
    sample.values[:, 4] = 2.5
    p = scored(sample, in_stretches(rng)).p
    assert np.isnan(p).nonzero()[0].tolist() == [4]
    ((stands, q),) = discoveries({"c": p}, 0.05).values()
    assert not stands[4]
    assert q[4] == 1


def test_the_interval_of_a_score_covers_it_and_speaks_of_episodes():
    rng = np.random.default_rng(7)
    sample, truth = sample_of(rng, 1), by_episode(rng)
    sums = Sums.of(sample.values, truth, sample.fired, sample.episode)
    low, high = np.nanquantile(resampled(sums, 500, 0).d[:, 0], [0.025, 0.975])
    whole = Sums.of(sample.values, truth, sample.fired).d[0, 0]
    rows = np.nanquantile(
        [Sums.of(sample.values[i], truth[i]).d[0, 0] for i in rng.integers(0, 240, (200, 240))],
        [0.025, 0.975],
    )
    assert low < whole < high
    assert high - low > 1.3 * (rows[1] - rows[0])


def test_leaving_a_task_out_leaves_the_rest():
    sums = Sums.of(np.arange(8.0)[:, None], np.arange(8) % 2 == 0, None, np.arange(8) // 4)
    assert without_each(sums).shape == (1,)


def test_features_are_scored_in_blocks_that_fit_the_memory():
    assert feature_blocks(10, 100, 8 * 100 * 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert feature_blocks(10, 10**9, 1) == [slice(i, i + 1) for i in range(10)]
