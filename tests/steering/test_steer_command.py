"""`vlascope steer`: three episodes from one start, in pictures and in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from vlascope import load
from vlascope.cli.root import app
from vlascope.directions import Direction, save_directions
from vlascope.errors import IncompatibleError, UnknownName

TO_GREEN = np.zeros(128)
TO_GREEN[[11, 12]] = -1, 1  # away from "asked red", towards "asked green"


def steer(*arguments: str, policy: str = "toy:bundled", benchmark: str = "toy"):
    torch.set_num_threads(1)
    plain = ["steer", "--policy", policy, "--benchmark", benchmark, "--quiet", *arguments]
    return CliRunner().invoke(app, plain, catch_exceptions=False)


@pytest.fixture
def green(tmp_path: Path) -> str:
    path = tmp_path / "directions.safetensors"
    save_directions(path, [Direction("green", "vlm.1.resid_post", TO_GREEN)])
    return f"{path}#green"


def test_before_after_and_random_are_shown(green: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    out = tmp_path / "out"
    done = steer(
        "--task", "shared/red", "--direction", green, "--tokens", "soft_prompt",
        "--strength", "1", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    assert [result["episodes"][arm]["success"] for arm in ("before", "after")] == [True, False]
    assert result["displacement"]["before"] == 0
    assert result["displacement"]["after"] > 0.2
    ratios = [result["episodes"][arm]["dx_ratio"] for arm in ("after", "random")]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.1)
    assert "no interval" in done.output
    picture = np.asarray(Image.open(out / "strip.png"))
    assert picture.shape[1] == 6 * 176
    assert np.ptp(picture) == 255
    import av

    with av.open(str(out / "side_by_side.mp4")) as video:
        frames = list(video.decode(video=0))
    assert frames[0].width == 3 * 192
    assert len(frames) >= 20


def test_the_closed_loop_reports_its_strength(green: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = steer(
        "--task", "shared/red", "--direction", green, "--tokens", "soft_prompt",
        "--hold", "speed=0.4", "--no-video", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    assert result["edit"]["kind"] == "steer_to"
    assert result["edit"]["hz"] == 10
    assert result["episodes"]["after"]["alpha"] is not None
    assert not (out / "side_by_side.mp4").exists()


def test_what_does_not_fit_is_refused_before_anything_is_played(green: str, tmp_path) -> None:
    out = tmp_path / "out"
    rest = ("--task", "shared/red", "--no-video", "--out", str(out))
    with pytest.raises(IncompatibleError, match="found at vlm"):
        steer("--direction", green, "--at", "expert.0.resid_post", *rest)
    with pytest.raises(UnknownName, match="'green'"):
        steer("--direction", green.replace("#green", "#gren"), *rest)
    assert steer("--direction", green, "--hold", "speed", *rest).exit_code == 2
    assert steer("--direction", "green", *rest).exit_code == 2
    assert not list(out.rglob("*.safetensors"))


@pytest.mark.sim
@pytest.mark.slow
def test_a_trained_policy_is_steered_in_metaworld(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    pytest.importorskip("av")
    policy = load("tinyvla", "bundled")
    width = policy.info.pathway("expert").width
    vector = np.random.default_rng(0).standard_normal(width)
    path = save_directions(
        tmp_path / "d.safetensors", [Direction("any", "expert.1.resid_post", vector)]
    )
    out = tmp_path / "out"
    done = steer(
        "--task", "handle-press", "--direction", f"{path}#any", "--hold", "speed=0.3",
        "--seed", "5000", "--max-steps", "60", "--out", str(out),
        policy="tinyvla:bundled", benchmark="metaworld",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    assert result["episodes"]["before"]["success"]
    assert 0.1 < result["episodes"]["before"]["speed"] < 3
    assert 0 < result["episodes"]["before"]["height"] < 1
    assert result["episodes"]["after"]["dx_ratio"] > 0
    assert (out / "side_by_side.mp4").stat().st_size > 1000
