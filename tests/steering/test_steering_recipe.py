"""The steering recipe on the toy policy: the asked colour redirects, random directions do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import binom

from vlascope import load
from vlascope.directions import Direction, load_directions, save_directions
from vlascope.errors import StudyFileError
from vlascope.interventions import RandomDirection
from vlascope.recipes.steering_view import rank_p
from vlascope.report import collect
from vlascope.rollout.ledger import read_episodes
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study

ASKED = "vlm.1.resid_post"
STEERING = {
    "kind": "steering",
    "contrast": {"tasks": ["shared/red", "shared/green"]},
    "at": ASKED,
    "tokens": "soft_prompt",
    "strengths": [-1.0, 1.0],
    "tasks": ["shared/red"],
    "prompting": "go to the green point",
    "randoms": 2,
}
STUDY = {
    "name": "steered",
    "policies": {"toy": {"adapter": "toy", "checkpoint": "bundled"}},
    "benchmark": {"name": "toy"},
    "tasks": ["shared/red", "shared/green"],
    "seeds": "0-4",
    "workers": 1,
}


def study(folder: Path, **options: object):
    path = folder / "study.yaml"
    steering = {k: v for k, v in (STEERING | options).items() if v is not None}
    path.write_text(yaml.safe_dump({**STUDY, "recipes": {"asked": steering}}))
    return load_study(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("steered")
    hold = {"quantity": "speed", "target": 0.4, "integral": 0.0}
    outcome = run_study(study(folder, hold=hold), folder / "run", progress=False)
    assert outcome.ok, outcome.complaints
    return folder / "run"


def reached(run: Path, arm: str) -> list[tuple[str, ...]]:
    records = sorted(read_episodes(run / "toy"), key=lambda r: r.plan.seed)
    return [tuple(r.predicates) for r in records if r.plan.arm == arm]


def test_the_direction_is_the_asked_colour_and_nothing_else(run: Path) -> None:
    found = load_directions(
        run / "toy" / "analyses" / "asked_directions" / "directions.safetensors"
    )
    unit = found.direction(ASKED).unit
    wanted = np.zeros(128)
    wanted[[11, 12]] = -(2**-0.5), 2**-0.5  # asked red, asked green
    np.testing.assert_allclose(unit, wanted, atol=1e-4)
    assert found.direction(ASKED).found_by["p"] <= 2**-4


def test_steering_along_it_does_what_asking_in_words_does(run: Path) -> None:
    assert reached(run, "baseline")[::2] != reached(run, "baseline")[1::2]
    assert reached(run, "asked_vlm_1_resid_post_up1") == [("shared/green",)] * 5
    assert reached(run, "asked_prompted") == [("shared/green",)] * 5
    assert reached(run, "asked_vlm_1_resid_post_down1") == [("shared/red",)] * 5
    assert reached(run, "asked_hooked") == [("shared/red",)] * 5


def test_a_random_direction_of_equal_norm_redirects_nobody(run: Path) -> None:
    for arm in ("up1", "down1"):
        for names in reached(run, f"asked_vlm_1_resid_post_{arm}.random_direction"):
            assert "shared/green" not in names
    receipts = [r for r in read_episodes(run / "toy") if r.plan.arm.startswith("asked_vlm")]
    ratios = {r.plan.arm: r.receipts[0].dx_ratio_mean for r in receipts if "held" not in r.plan.arm}
    one_token = np.mean([r for r in ratios.values() if r is not None])
    assert list(ratios.values()) == pytest.approx([one_token] * 6, rel=0.05)


def test_the_chapter_sets_every_arm_against_its_controls(run: Path) -> None:
    report = collect(run)
    (section,) = (s for s in report.sections if s.name == "asked")
    tables = {b.title: b for b in section.blocks if b.type == "table"}
    rows = {row[0]: row for row in tables["Steered, and not"].rows}
    assert rows["`asked_vlm_1_resid_post_up1`"][1].estimate.value == 0
    assert rows["`asked_hooked`"][1].estimate.value == 1
    assert rows["`asked_vlm_1_resid_post_up1`"][5] > 0
    measures = [row[1] for row in tables["Against a random direction of equal norm"].rows]
    assert measures == ["success", "speed", "height"] * 3
    change = next(r for r in tables["Among random directions"].rows if "success" in r[1])
    assert change[4] == 2
    assert any(title.startswith("Held at 0.4 m/s") for title in tables)
    (figure,) = (b for b in section.blocks if b.type == "figure")
    assert next(t["name"] for t in figure.plotly["data"]) == "baseline"
    assert figure.plotly["layout"]["shapes"][0]["y0"] == 0.4
    assert any("Closed loop at vlm.1.resid_post" in line for line in section.sentences)
    assert all("n = 5" in line for line in section.sentences)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"contrast": None}, "give one of"),
        ({"at": None}, "needs `at`"),
        ({"strengths": [0.0]}, "none is 0"),
        ({"contrast": {"by": "sped"}}, "did you mean 'speed'"),
        ({"contrast": {}}, "give one of"),
        ({"at": "vlm.9"}, "no hook point"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path, options, complaint) -> None:
    with pytest.raises(StudyFileError, match=complaint):
        study(tmp_path, **options)


def test_a_kept_direction_is_refused_at_another_site(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    save_directions(path, [Direction("green", ASKED, np.ones(128))])
    kept = {"contrast": None, "direction": {"file": str(path), "name": "green"}}
    assert "asked_vlm_2_resid_post_up1" in study(tmp_path, **kept, at="vlm.2.resid_post").arms
    with pytest.raises(StudyFileError, match="'green' was found at vlm"):
        study(tmp_path, **kept, at="vlm.1.resid_pre")
    with pytest.raises(StudyFileError, match="'green'"):
        study(tmp_path, **kept | {"direction": {"file": str(path), "name": "gren"}}, at=ASKED)


@pytest.mark.slow
def test_a_random_direction_stands_out_among_random_ones_at_the_nominal_rate() -> None:
    """200 repetitions: the "direction" is itself random, and 19 others are its controls."""
    toy = load("toy", "bundled")
    seen = [toy.example_observation(0)]
    plain = toy.infer(seen).actions

    def effect(seed: int) -> float:
        edit = RandomDirection(at=ASKED, tokens="soft_prompt", strength=0.3, seed=seed)
        with toy.intervene(edit):
            return float(np.abs(toy.infer(seen).actions - plain).mean())

    effects = [effect(seed) for seed in range(400)]
    draws = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        chosen = draws.choice(effects, 20, replace=False)
        hits += rank_p(chosen[0], chosen[1:].tolist()) <= 0.05
    assert binom.ppf(0.001, 200, 0.05) <= hits <= binom.ppf(0.999, 200, 0.05)
