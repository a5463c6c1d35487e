"""Figures of made-up entries: twelve policies, two of a family, and what chance would do."""

from __future__ import annotations

import io

import matplotlib.image
import pytest

from vlascope.comparison.members import Spot
from vlascope.comparison.report.arranging import arranged
from vlascope.comparison.report.drawings import ForestRow, trails
from vlascope.comparison.report.interactive import interactive
from vlascope.comparison.report.marks import control_marks
from vlascope.comparison.report.places import held_of
from vlascope.comparison.report.printable import as_files
from vlascope.comparison.report.styles import looks
from vlascope.statistics import Estimate
from vlascope.study.quantity import Quantity

FAMILIES = {f"policy_{i}": f"kind_{max(1, i)}" for i in range(12)}
SPARSITIES = {"": 16.0, "_1_in_16": 4.0, "_1_in_8": 8.0}
OVERRIDE = "injection.cross_task.override_strict"
CLAIMED = {OVERRIDE, "saes.hooked_success.token"}


def near(value, n=40):
    return Estimate(value=value, low=value - 0.1, high=value + 0.1, n=n, method="made")


def autoencoders(index):
    found = []
    for per, less in (("token", 0.0), ("pooled", 0.3)):
        for variant, l0 in SPARSITIES.items():
            at = {"pathway": "vlm", "depth": "mid", "site": "resid_post", "unit": "1"}
            name = f"{per}{variant}"
            fidelity = 0.5 + l0 / 50 + index / 100 - less
            found += [
                Quantity(key=f"saes.l0.{name}", label="L0", value=near(l0), **at),
                Quantity(key=f"saes.fvu.{name}", label="unexplained", value=near(0.2), **at),
                Quantity(key=f"saes.action_fidelity.{name}", label=f"fidelity ({name})",
                         value=near(fidelity), **at),
            ]  # fmt: skip
        found.append(
            Quantity(key=f"saes.hooked_success.{per}", label="success", value=near(-less),
                     signed=True, pathway="vlm", depth="mid", site="resid_post")
        )  # fmt: skip
    return tuple(found)


def overridden(index):
    found = []
    for pathway in ("vlm", "expert"):
        at = {"pathway": pathway, "site": "resid_post"}
        value = 0.6 + index / 50
        found += [
            Quantity(key=OVERRIDE, label="override", value=near(value), **at),
            Quantity(key=f"{OVERRIDE}.random_direction", label="at random", value=near(0.2), **at),
            Quantity(key=f"{OVERRIDE}.no_injection", label="without", value=near(0.1), **at),
        ]
    return tuple(found)


def drawings_of(numbers, pooled=()):
    held = held_of({entry: numbers(i) for i, entry in enumerate(FAMILIES)})
    rows = {s: ForestRow(label="pooled", value=near(0.5, n=11)) for s in pooled}
    return {d.name: d for d in arranged("asked", held, rows, CLAIMED.__contains__)}


@pytest.fixture(scope="module")
def sparse():
    return drawings_of(autoencoders)


@pytest.fixture(scope="module")
def forest():
    place = {"pathway": "vlm", "site": "resid_post"}
    pooled = (Spot(OVERRIDE, **place), Spot(f"{OVERRIDE}.random_direction", **place))
    return drawings_of(overridden, pooled)["asked_injection_cross_task_override_strict"]


def test_fidelity_stands_against_l0_a_line_per_entry_and_kinds_apart(sparse):
    fidelity = sparse["asked_saes_action_fidelity_against_l0"]
    assert not fidelity.folded
    assert fidelity.y_axis == "action fidelity"
    assert fidelity.panels == ("vlm, resid_post: token", "vlm, resid_post: pooled")
    for panel in fidelity.panels:
        lines = trails(fidelity, panel)
        assert list(lines) == list(FAMILIES)
        assert [d.x.value for d in lines["policy_3"]] == [4, 8, 16]


def test_success_with_the_reconstruction_stands_against_l0_too(sparse):
    success = sparse["asked_saes_hooked_success_against_l0"]
    assert not success.folded
    assert {(d.panel, d.x.value, d.y.value) for d in success.dots} == {
        ("vlm, resid_post: token", 16.0, 0.0),
        ("vlm, resid_post: pooled", 16.0, -0.3),
    }


def test_what_no_claim_speaks_of_is_folded(sparse):
    assert sparse["asked_saes_fvu_against_l0"].folded


def test_twelve_entries_are_told_apart_in_a_scatter(sparse):
    fidelity = sparse["asked_saes_action_fidelity_against_l0"]
    (_, first), _ = interactive(fidelity, looks(FAMILIES))
    traces = first["data"]
    shown = {(t["marker"]["symbol"], t["line"]["dash"]) for t in traces}
    assert len(shown) == len(traces) == 12
    assert len({t["x"][0] for t in traces}) == 12
    assert {t["marker"]["color"] for t in traces[:2]} == {traces[0]["marker"]["color"]}
    low, high = first["layout"]["xaxis"]["range"]
    assert all(low < x < high for t in traces for x in t["x"])
    assert max(t["x"][0] for t in traces) < min(t["x"][1] for t in traces)


def test_each_override_stands_on_the_band_of_its_random_direction(forest):
    ((_, plotly),) = interactive(forest, looks(FAMILIES))
    (band,) = [t for t in plotly["data"] if t["type"] == "bar"]
    rows = {t["y"][0] for t in plotly["data"] if t["name"] in FAMILIES or t["name"] == "pooled"}
    assert set(band["y"]) <= rows
    assert len(band["y"]) == 2 * 12 + 1
    assert {round(base, 6) for base in band["base"][:12]} == {0.1}
    assert {round(wide, 6) for wide in band["x"][:12]} == {0.2}
    upright = next(t for t in plotly["data"] if t["name"] == "random direction" and t != band)
    assert set(upright["x"][:12]) == {0.2}
    assert upright["marker"]["symbol"] == "line-ns-open"


def test_other_controls_are_marks_between_the_bands(forest):
    assert forest.controls == ("random direction", "no injection")
    assert forest.marked == ("no injection",)
    assert list(control_marks(forest)) == ["random direction", "no injection"]
    ((_, plotly),) = interactive(forest, looks(FAMILIES))
    (grey,) = [t for t in plotly["data"] if t["name"] == "no injection"]
    (band,) = [t for t in plotly["data"] if t["type"] == "bar"]
    half = band["width"] / 2
    for mark in grey["y"]:
        assert any(row - 1 + half < mark < row - half for row in band["y"])
    assert "random direction" in forest.caption


def test_headings_say_only_what_differs(forest):
    assert {row.group for row in forest.rows} == {"vlm, resid_post", "expert, resid_post"}


def test_files_hold_the_whole_figure(forest, sparse):
    """Nothing is cut off at the rim: all of it is white."""
    for drawing in (forest, sparse["asked_saes_action_fidelity_against_l0"]):
        files = as_files(drawing, looks(FAMILIES))
        picture = matplotlib.image.imread(io.BytesIO(files["png"]), format="png")[..., :3]
        for rim in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
            assert (rim == 1).all()
        assert len(files["svg"]) < 400_000


def test_numbers_of_a_page_have_no_more_digits_than_a_screen_shows(forest):
    ((_, plotly),) = interactive(forest, looks(FAMILIES))
    for trace in plotly["data"]:
        assert all(len(str(x)) <= 9 for x in trace["x"])
