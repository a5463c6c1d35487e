"""Ablation finds what the toy policy cannot do without, and nothing at its dead layer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from vlascope.errors import StudyFileError
from vlascope.recipes.ablation_verdicts import UNTOLD, share, verdicts
from vlascope.report import collect
from vlascope.sections import Figure, Table
from vlascope.statistics import Pair, compare, holm, mcnemar_p
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

STUDY = """
name: toy-ablation
policies:
  toy: {adapter: toy, checkpoint: bundled}
benchmark: {name: toy}
tasks: ["suite:shared"]
seeds: 0-5
max_steps: 40
workers: 1
envs_per_worker: 8
recipes:
  cut:
    kind: ablation
    layers: [vlm.0, vlm.3, expert.1]
    sites: [mlp_out, resid_post]
    methods: [zero, mean, resample]
    random_direction: false
    windows: [first_half]
    windowed: [expert.1]
    sets:
      words:
        edit: {kind: clamp, at: vlm.0.mlp_act, value: 0}
        field: neurons
        ranked: [0, 1, 2]
        among: [5, 6, 7, 8, 9, 10]
        sizes: [1, 3]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "study.yaml").write_text(STUDY)
    study = load_study(folder / "study.yaml")
    outcome = run_study(study, folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return folder / "run"


@pytest.fixture(scope="module")
def section(run):
    (found,) = [s for s in collect(run).sections if s.name == "cut"]
    return found


@pytest.fixture(scope="module")
def tables(section):
    return {b.title: b for b in section.blocks if isinstance(b, Table)}


@pytest.fixture(scope="module")
def rows(tables):
    return {(row[0].strip("`"), row[1], row[2]): row for row in tables["Every site"].rows}


@pytest.mark.parametrize("method", ["zero", "mean"])
@pytest.mark.parametrize("at", ["vlm.0.mlp_out", "expert.1.resid_post", "expert.1.mlp_out"])
def test_what_decides_is_destroyed(rows, at, method):
    assert rows[at, method, "all"][-1] == "destroyed"


def test_another_episodes_words_mislead(rows):
    assert rows["vlm.0.mlp_out", "resample", "all"][4].estimate.value < -0.3


def test_numbers_for_comparison_stand_at_relative_depths(run, read_quantities):
    found = read_quantities(run, "cut")
    last = found["ablation.effect.zero", "expert", "", "mlp_out", 1.0]
    assert last.value.value < -0.5
    assert 0 < last.norm_ratio < 1.001
    assert found["ablation.effect.zero", "vlm", "", "mlp_out", 0.0].value.value < -0.5
    dead = found["ablation.effect.zero", "vlm", "", "mlp_out", 1.0]
    assert dead.value is None
    assert dead.why_not.startswith("dead site")
    assert found["ablation.effect_during.first_half.zero", "expert", "", "mlp_out", 1.0].value.n
    destroyed = found["ablation.destroyed.zero", "vlm", "", "", None]
    assert destroyed.value is None  # so few pairs show destruction, and could not show its absence
    assert destroyed.why_not == UNTOLD


def test_the_dead_layer_changes_nothing_and_is_never_ranked(rows, tables, section):
    dead = [row for row in rows.values() if row[0].startswith("`vlm.3")]
    assert len(dead) == 6
    assert {row[-1] for row in dead} == {"dead"}
    assert {row[4].estimate.value for row in dead} == {0.0}
    assert tables["Every site"].rows[-6:] == tuple(dead)
    counted = sum(r[2].estimate.n for r in tables["Zero effect and destruction"].rows)
    assert counted == 12
    assert not any("vlm.3" in s for s in section.sentences)


def test_a_residual_replacement_is_never_left_without_its_sentence(section):
    assert any("resid_post" in s and "destroys" in s for s in section.sentences)
    (said,) = [s for s in section.sentences if "everything computed up to there" in s]
    assert "expert.1.resid_post" in said
    assert "does not make the layer critical" in said
    assert "mlp_out" not in said


def test_parts_of_the_episode_are_played(rows):
    assert ("expert.1.resid_post", "zero", "first_half") in rows


def test_zero_effects_state_what_could_have_been_seen(section):
    limits = [s for s in section.unresolved if "zero," in s]
    assert limits
    assert all("cannot resolve differences below" in s for s in limits)


def test_the_words_neurons_fail_before_random_ones(section):
    (said,) = [s for s in section.sentences if "Of the set `words`" in s]
    assert "removing the first 3" in said
    curve = next(b for b in section.blocks if isinstance(b, Figure) and "words" in b.title)
    lines = {t["name"]: t["y"] for t in curve.plotly["data"]}
    assert lines["ranked"][-1] == 0
    assert lines["random"] == [1, 1]


def test_nothing_is_claimed_beyond_the_level_where_nothing_is_removed():
    """Over a grid of twelve arms that play as the baseline does.

    Intervals, which have to leave out zero as well, are worked out only where a p passes.
    """
    rng, claims, repetitions = np.random.default_rng(0), 0, 200
    for _ in range(repetitions):
        arms, own = rng.random((2, 12, 12)) < 0.7
        ps = [
            mcnemar_p(int((a & ~o).sum()), int((o & ~a).sum()))
            for a, o in zip(arms, own, strict=True)
        ]
        if min(holm(ps)) <= 0.05:
            found = [compare(_pairs(a, o), binary=True) for a, o in zip(arms, own, strict=True)]
            claims += bool({"changed", "destroyed"} & set(verdicts(found, 0.05)))
    assert claims <= binom.ppf(0.999, repetitions, 0.05)


def test_verdicts_follow_the_difference_and_what_could_have_been_seen():
    one, none = np.ones(20), np.zeros(20)
    some = np.r_[np.zeros(8), np.ones(12)]
    few = [compare(_pairs(none[:3], one[:3]), binary=True)]
    found = [compare(_pairs(a, one), binary=True) for a in (none, some, one)]
    assert verdicts(found, 0.05) == ["destroyed", "changed", "zero"]
    assert verdicts(few, 0.05) == ["unresolved"]
    many_equal, few_equal = (compare(_pairs(one[:n], one[:n]), binary=True) for n in (20, 8))
    assert verdicts([many_equal, few_equal], 0.05) == ["zero", "unresolved"]


def _pairs(arm, own):
    return [
        Pair(str(i % 4), float(a), float(o)) for i, (a, o) in enumerate(zip(arm, own, strict=True))
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("sizes: [1, 3]", r"sizes: [4]|size 4 of a ranked list of 3"),
        ("among: [5, 6, 7, 8, 9, 10]", r"among: [5]|a random set of 3 of 1 others"),
        ("layers: [vlm.0, vlm.3, expert.1]", r"layers: [vlm]|layers.0"),
        ("max_steps: 40", r"seeds: 0|windows need"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, change, complaint):
    new, _, message = complaint.partition("|")
    text = STUDY.replace("seeds: 0-5\n", "") if "max_steps" in change else STUDY
    (tmp_path / "study.yaml").write_text(text.replace(change, new))
    with pytest.raises(StudyFileError, match=message):
        load_study(tmp_path / "study.yaml")


def test_rates_of_verdicts_leave_out_what_n_could_not_have_told():
    def lost(value, detectable):
        found = compare([Pair("t", 1.0, 1.0)] * 4, binary=True)
        difference = found.difference.model_copy(update={"value": value})
        return found.model_copy(update={"difference": difference, "detectable": detectable})

    told = [("zero", lost(0.0, 0.3)), ("destroyed", lost(-0.9, 0.3))]
    few = [("destroyed", lost(-1.0, None)), ("unresolved", lost(-0.2, 0.3))]
    found = share("zero", [*told, *few])
    assert (found.value, found.n, found.missing) == (0.5, 2, 2)
    assert share("zero", few) is None
