"""The vision recipe: on the toy policy it finds what is needed, and where nothing is, nothing."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects
import pytest
from scipy.stats import binom

from vlascope.errors import StudyFileError
from vlascope.recipes.vision import STANDARD
from vlascope.recipes.vision_judging import judge
from vlascope.report.chapters import chapters
from vlascope.statistics import Pair
from vlascope.study import load_study, run_study
from vlascope.study.design import design
from vlascope.study.expansion import expanded
from vlascope.study.measuring import Measuring
from vlascope.study.run_directory import read_run
from vlascope_benchmarks.toy.tasks import layout

STUDY = """
name: seeing
policies:
  toy: {{adapter: toy, checkpoint: bundled}}
benchmark: {{name: toy}}
tasks: [unique/red]
seeds: {seeds}
recipes:
  vision: {recipe}
"""
SEEDS = 11
"""Enough for a lost success in every pair to survive the adjustment over 16 cells."""


def goal_cell(seed: int) -> tuple[int, int]:
    (goal,), _ = (list(layout("unique/red", seed)[0].values()), None)
    return int((1 - goal[1]) * 2), int((goal[0] + 1) * 2)


def written(tmp_path, recipe: str, seeds: object = 2):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(recipe=recipe, seeds=seeds))
    return load_study(path)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Episodes whose goal lies in the second row and third column, every cell covered in turn."""
    folder = tmp_path_factory.mktemp("seeing")
    seeds = [s for s in range(400) if goal_cell(s) == (1, 2)][:SEEDS]
    few = "{greyscale: {kind: greyscale}, darker: {kind: brightness, severity: 0.1}}"
    recipe = f"{{kind: vision, severities: [1.0], perturbations: {few}}}"
    study = written(folder, recipe, seeds)
    assert run_study(study, folder / "run", progress=False).ok
    return folder / "run"


@pytest.fixture(scope="module")
def chapter(played):
    manifest, episodes, _ = read_run(played)
    (found,) = chapters(played, Measuring(design(expanded(manifest.study)), episodes))
    return found


def rows(chapter, title: str) -> dict[str, tuple]:
    table = next(b for b in chapter.blocks if b.type == "table" and b.title == title)
    return {str(row[0]).strip("`"): row for row in table.rows}


def test_numbers_for_comparison_are_the_tables(chapter, played, read_quantities):
    found = {place[0]: q for place, q in read_quantities(played, "vision").items()}
    table = rows(chapter, "Perturbations")
    for label in ("greyscale_100", "darker"):
        shown = table[f"vision_{label}"]
        assert found[f"vision.success.{label}"].value == shown[1].estimate
        assert found[f"vision.effect.{label}"].value == shown[2].estimate
    assert found["vision.effect.greyscale_100"].label == "greyscale at 1.00"
    assert found["vision.displacement.darker.against.control"].unit == "m"
    matter = found["vision.cells_that_matter"].value
    assert (matter.value, matter.n) == (1 / 16, 16)


def test_only_covering_the_goals_cell_takes_success_away(chapter):
    cells = rows(chapter, "Cells of the occlusion grid")
    for row in range(4):
        for column in range(4):
            change = cells[f"vision_cell_{row}_{column}"][2].estimate
            assert change.n == SEEDS
            assert change.value == (-1.0 if (row, column) == (1, 2) else 0.0)
    said = [s for s in chapter.sentences if "success" in s]
    assert len([s for s in said if "cell_" in s]) == 1
    assert "`vision_cell_1_2` changes success" in " ".join(said)


def test_only_the_goals_cell_is_told_apart_in_displacement_too(chapter):
    moved = [s for s in chapter.sentences if "displacement" in s and "cell_" in s]
    assert len(moved) == 1
    assert "`vision_cell_1_2`" in moved[0]


def test_without_colour_the_toy_policy_is_lost_and_in_dim_light_it_is_not(chapter):
    changes = rows(chapter, "Perturbations")
    assert changes["vision_greyscale_100"][2].estimate.value == -1.0
    assert changes["vision_darker"][2].estimate.value == 0.0
    lost = [s for s in chapter.sentences if "changes success" in s and "cell_" not in s]
    assert len(lost) == 1
    assert "vision_greyscale_100" in lost[0]


def test_the_heat_map_lies_over_what_the_camera_shows(chapter):
    (figure,) = [b for b in chapter.blocks if b.type == "figure"]
    plotly.graph_objects.Figure(figure.plotly)  # refuses what plotly does not know
    success, moved = figure.plotly["data"]
    lost = np.array(success["z"], float)[::-1]
    assert (np.unravel_index(lost.argmin(), lost.shape)) == (1, 2)
    assert (np.unravel_index(np.array(moved["z"], float)[::-1].argmax(), lost.shape)) == (1, 2)
    assert success["text"][2][2].startswith("<b>[")
    assert "n = 11" in success["customdata"][2][2]
    assert [i["source"][:22] for i in figure.plotly["layout"]["images"]] == [
        "data:image/png;base64,"
    ] * 2


def test_every_arm_leaves_a_receipt_and_what_cannot_be_resolved_is_said(chapter):
    receipts = rows(chapter, "Did the changed picture arrive?")
    assert set(receipts) == {
        "vision_control",
        "vision_greyscale_100",
        "vision_darker",
        *(f"vision_cell_{r}_{c}" for r in range(4) for c in range(4)),
    }
    for _, episodes, changed, change, delivered, altered in receipts.values():
        assert episodes == SEEDS
        assert changed.split(" of ")[0] == changed.split(" of ")[1]
        assert float(change.split()[-1]) > 0
        assert delivered == altered
        assert delivered.split(" of ")[0] == delivered.split(" of ")[1]
    assert any("15 of 16 arms" in s and "n = 11 pairs" in s for s in chapter.unresolved)


def test_too_few_pairs_for_any_cell_to_be_found_is_said(played):
    manifest, episodes, _ = read_run(played)
    kept = manifest.study.seeds[:6]
    study = manifest.study.model_copy(update={"seeds": kept})
    (few,) = chapters(played, Measuring(design(expanded(study)), episodes))
    assert not [s for s in few.sentences if "cell_" in s]
    assert any("n = 6 pairs each" in s and "10 pairs would do" in s for s in few.unresolved)


def test_the_chapter_is_written_into_the_report(played):
    from vlascope.report import write_report

    write_report(played)
    assert "What of the picture does the policy need?" in (played / "report.md").read_text()


def test_by_default_every_kind_but_the_swap_is_played_and_every_cell(tmp_path):
    arms = expanded(written(tmp_path, "{kind: vision}")).arms
    kinds = {part["kind"] for arm in arms.values() for part in arm.perturb or ()}
    assert len(kinds) == 13
    assert "camera_swap" not in kinds
    assert len([a for a in arms if "_cell_" in a]) == 16
    assert {"vision_blur_050", "vision_blur_100", "vision_flip", "vision_control"} <= set(arms)
    assert len(arms) == 1 + 1 + 2 * 9 + 7 + 16
    assert len(STANDARD) == 16


def test_perturbations_may_be_composed_and_restricted_to_cameras(tmp_path):
    recipe = (
        "{kind: vision, grid: null, severities: [0.3], cameras: [top], "
        "perturbations: {dusk: [{kind: brightness}, {kind: noise}]}}"
    )
    (dusk,) = [a for n, a in expanded(written(tmp_path, recipe)).arms.items() if "dusk" in n]
    assert [(p["kind"], p["severity"], p["cameras"]) for p in dusk.perturb] == [
        ("brightness", 0.3, ["top"]),
        ("noise", 0.3, ["top"]),
    ]


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("{kind: vision, perturbations: {a: {kind: blurr}}}", "did you mean 'blur'"),
        ("{kind: vision, perturbations: {cell: {kind: blur}}}", "neither `cell`"),
        ("{kind: vision, severities: [0]}", "greater than 0"),
        ("{kind: vision, fill: pink}", "grey"),
        ("{kind: vision, grid: 1}", "greater than or equal to 2"),
        ("{kind: vision, perturbations: {a: {kind: blur, strength: 2}}}", "strength"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(tmp_path, recipe, says):
    with pytest.raises(StudyFileError, match=says):
        written(tmp_path, recipe)


def null_family(rng: np.random.Generator, arms: int, n: int):
    """Arms that do nothing: success flips by chance alone, displacement is like the control's."""
    clean = rng.random(n) < 0.7
    control = rng.gamma(2.0, 0.01, n)

    def flipped() -> np.ndarray:
        return np.where(rng.random(n) < 0.3, rng.random(n) < 0.7, clean)

    success = {f"a{i}": [Pair("t", float(a), float(b)) for a, b in zip(flipped(), flipped(),
               strict=True)] for i in range(arms)}  # fmt: skip
    moved = {f"a{i}": [Pair("t", float(a), float(b)) for a, b in
             zip(rng.gamma(2.0, 0.01, n), control, strict=True)] for i in range(arms)}  # fmt: skip
    return success, moved


def test_where_nothing_matters_something_is_found_at_the_nominal_rate_over_200_repetitions(
    monkeypatch,
):
    monkeypatch.setattr("vlascope.statistics.paired.detectable_mean", lambda differences: None)
    rng, repetitions, alpha = np.random.default_rng(7), 200, 0.05
    family, alone = np.zeros(2, int), 0
    for _ in range(repetitions):
        judged = judge(*null_family(rng, arms=2, n=8), alpha)
        family += (any(j.success.found for j in judged), any(j.moved.found for j in judged))
        first = judged[0].moved.comparison
        assert first.p is not None
        alone += first.p <= alpha
    assert max(family) <= binom.ppf(0.999, repetitions, alpha)
    assert binom.ppf(0.001, repetitions, alpha) <= alone <= binom.ppf(0.999, repetitions, alpha)
