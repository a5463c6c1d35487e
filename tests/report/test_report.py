"""The report of a run directory written by hand, so that every number is known."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from vlascope.intervening import Receipt
from vlascope.records import EpisodeRecord, PolicyIdentity
from vlascope.report import write_report
from vlascope.report.strips import as_data_uri
from vlascope.report.wording import amount, p_value
from vlascope.rollout.arrays import write_arrays
from vlascope.study.design import design
from vlascope.study.loading import load_study
from vlascope.study.run_directory import ArmOutcome, claim, keep_outcome

TOY = Path(__file__).parents[1] / "study" / "toy.yaml"
KEPT = ("baseline", "null_prompt", "wrong_prompt", "baseline.source", "vlm")
LOST = ("shared/red", 1)


def record_of(plan, index, edits):
    succeeds = plan.arm == "baseline" or plan.task.startswith("unique")
    lost = plan.arm == "null_prompt" and (plan.task, plan.seed) == LOST
    receipt = Receipt(
        kind="inject", at=("vlm.2.resid_post",), points=1, fired={0: 4}, expected=4,
        mismatches=0, dx_ratio_mean=0.5, dx_ratio_max=0.9,
    )  # fmt: skip
    return EpisodeRecord(
        digest=f"{index:016x}",
        plan=plan,
        policy=PolicyIdentity(adapter="toy", checkpoint="bundled", checkpoint_hash="abc123"),
        benchmark="toy",
        instruction=plan.instruction or "go",
        scene="shared" if plan.task.startswith("shared") else plan.task,
        status="error" if lost else "ok",
        error="the simulator hung" if lost else None,
        success=None if lost else succeeds,
        steps=8,
        success_step=8 if succeeds else None,
        predicates={plan.task: 8} if succeeds else {},
        receipts=(receipt,) * edits,
        batch_mode="batched",
        arrays=None if lost else f"episodes/{index:016x}.safetensors",
        frames=f"frames/{index:016x}.safetensors" if plan.arm != "vlm" and not lost else None,
        seconds=0.1,
        versions={"vlascope": "0"},
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    study = load_study(TOY, ["seeds=0-3", "workers=1"])
    claim(folder, study)
    rng = np.random.default_rng(0)
    lines, index = [], 0
    for group in design(study).groups:
        if group.arm not in KEPT:
            continue
        for plan in group.plans:
            index += 1
            record = record_of(plan, index, len(group.definition.interventions))
            lines.append(record.model_dump_json())
            hand = np.cumsum(rng.normal(0, 0.02, (9, 3)), axis=0).astype(np.float32)
            actions = np.diff(hand, axis=0)
            if record.arrays:
                arrays = {"end_effector": hand, "action": actions}
                write_arrays(folder / "toy" / record.arrays, arrays)
            if record.frames:
                images = rng.integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
                strip = {"images": images, "steps": np.array([0, 4, 8])}
                write_arrays(folder / "toy" / record.frames, strip)
        keep_outcome(folder, "toy", group.arm, ArmOutcome(status="ok"))
    keep_outcome(folder, "toy", "expert", ArmOutcome(status="failed", error="it never fired"))
    (folder / "toy" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def plain(run_dir):
    return json.loads((run_dir / "report.json").read_text())


@pytest.fixture(scope="module")
def html(run_dir):
    return (run_dir / "report.html").read_text()


def test_an_error_episode_is_missing_and_listed_never_a_failure(plain):
    line = next(s for s in plain["successes"] if s["arm"] == "null_prompt")
    lost = line["by_task"]["shared/red"]
    assert (lost["n"], lost["missing"]) == (3, 1)
    assert any(f["reason"] == "the simulator hung" for f in plain["failures"])


def test_an_arm_that_failed_is_said_to_have(plain, html):
    assert any("it never fired" in f["reason"] for f in plain["failures"])
    assert "it never fired" in html


def test_every_rate_stands_with_its_n_and_interval(plain):
    def walk(value):
        if isinstance(value, dict):
            if {"value", "low", "high", "n"} <= set(value) and value["value"] is not None:
                assert value["n"] > 0
                if value["n"] > 1:
                    assert value["low"] is not None
            for entry in value.values():
                walk(entry)
        elif isinstance(value, list):
            for entry in value:
                walk(entry)

    walk(plain)


def test_the_page_is_self_contained(run_dir, html):
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", own)
    assert "url(" not in own
    assert (run_dir / "report.html").stat().st_size < 8e6


def test_words_name_the_numbers(run_dir):
    text = (run_dir / "report.md").read_text()
    assert "Success under `null_prompt` in unique: 1.00 [" in text
    assert "below `baseline`" in text
    assert "cannot resolve differences below" in text
    assert "abc123" in text


def test_the_figures_are_valid_json(html):
    figures = re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.S)
    assert len(figures) > 3
    for figure in figures:
        assert set(json.loads(figure)) == {"data", "layout"}


def test_text_from_a_study_cannot_break_the_page(run_dir):
    manifest = run_dir / "study.json"
    before = manifest.read_text()
    manifest.write_text(before.replace("whose causes are known", "<script>alert(1)</script>"))
    page = write_report(run_dir).read_text()
    manifest.write_text(before)
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.5, "share", "0.50"), (-0.034, "m", "\u22123.4 cm"), (None, "m", "not measured")],
)
def test_amounts_have_the_digits_of_their_unit(value, unit, text):
    assert amount(value, unit) == text


def test_small_p_is_not_zero():
    assert p_value(0.00001) == "p < 0.001"
    assert p_value(None) == "no p"


def test_pictures_are_small():
    uri = as_data_uri(np.zeros((256, 256, 3), np.uint8))
    assert uri.startswith("data:image/webp;base64,")
    assert len(uri) < 2000
