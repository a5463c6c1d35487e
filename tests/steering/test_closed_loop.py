"""The closed loop: a controller per episode that pushes only as hard as is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vlascope import load
from vlascope.errors import IncompatibleError, UnknownName
from vlascope.hooks import Firing, HookPoint, Moment
from vlascope.interventions import RandomDirection, SteerTo, parse_intervention
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.types import Observation

GOAL = "vlm.2.resid_post"
UP = torch.nn.functional.one_hot(torch.tensor(15), 128).float()  # where the goal's y is kept
ALONG = torch.nn.functional.one_hot(torch.tensor(6), 32).float()  # the expert's velocity in x


@pytest.fixture(scope="module")
def toy():
    torch.set_num_threads(1)
    return load("toy", "bundled")


def height_at(target: float, **more: object) -> SteerTo:
    fields = {"quantity": "position.y", "gain": 0.2, "integral": 0.6, "limits": (-2, 2)} | more
    return SteerTo(
        at=GOAL, tokens="soft_prompt", direction=UP, target=target, relative=False, **fields
    )


def play(toy, folder: Path, *edits, seeds=range(4), arm="held", batch="greedy", steps=40):
    plans = [
        EpisodePlan(arm=arm, task="shared/red", seed=s, max_steps=steps, stop_on_success=False)
        for s in seeds
    ]
    records = run_episodes(
        toy,
        BenchmarkSpec(name="toy"),
        plans,
        folder,
        interventions=edits,
        batch=batch,
        workers=1,
        envs_per_worker=2,
        progress=False,
    )
    return records, [EpisodeArrays.load(folder, r) for r in records]


def seen(y: float, x: float = 0.0) -> Observation:
    return Observation("", state={"position": np.array([x, y], np.float32)})


def alpha_of(edit: SteerTo, *episodes: str) -> list[float]:
    x = torch.zeros(len(episodes), 1, 128)
    firing = Firing(HookPoint.parse(GOAL), 0, tuple(Moment(e, 0, 0) for e in episodes))
    return edit.edit(x, firing)[:, 0, 15].tolist()


def test_the_controller_is_pi_and_each_episode_has_its_own(toy) -> None:
    edit = height_at(1.0, gain=0.5, integral=0.1)
    for chunk, (a, b) in enumerate([(0.0, 1.0), (0.5, 1.0)]):
        moments = [Moment("a", 2 * chunk, chunk), Moment("b", 2 * chunk, chunk)]
        edit.observe(moments, [seen(a), seen(b)], toy.info)
    assert alpha_of(edit, "a", "b") == pytest.approx([0.5 * 0.5 + 0.1 * 1.5, 0.0])
    log = edit.log("a")
    np.testing.assert_allclose(log["step"], [0, 2])
    np.testing.assert_allclose(log["measured"], [0, 0.5])
    np.testing.assert_allclose(log["alpha"], [0.6, 0.4], atol=1e-6)
    edit.forget("a")
    assert len(edit.log("a")["step"]) == 0
    edit.observe([Moment("b", 0, 0)], [seen(0.0)], toy.info)  # the same name from the start
    assert alpha_of(edit, "b") == pytest.approx([0.6])


def test_the_integral_does_not_wind_up_at_a_limit(toy) -> None:
    edit = height_at(1.0, gain=0.5, integral=0.5, limits=(-0.6, 0.6))
    for chunk in range(50):
        edit.observe([Moment("a", chunk, chunk)], [seen(-1.0)], toy.info)
    assert alpha_of(edit, "a") == pytest.approx([0.6])
    edit.observe([Moment("a", 50, 50)], [seen(1.5)], toy.info)
    assert alpha_of(edit, "a")[0] <= 0  # it lets go at once


def test_a_speed_is_displacement_over_time_and_unknown_at_first(toy) -> None:
    edit = height_at(1.0, quantity="speed", hz=10, start=0.25)
    edit.observe([Moment("a", 0, 0)], [seen(0.0)], toy.info)
    assert alpha_of(edit, "a") == pytest.approx([0.25])
    edit.observe([Moment("a", 2, 1)], [seen(0.08, x=0.06)], toy.info)
    np.testing.assert_allclose(edit.log("a")["measured"], [np.nan, 0.5], rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"limits": (1.0, 0.0)}, "low < high"),
        ({"gain": 1.0, "integral": -1.0}, "one sign"),
        ({"gain": 0.0, "integral": 0.0}, "not 0"),
        ({"quantity": "speed"}, "hz"),
        ({"gain": float("nan")}, "finite"),
    ],
)
def test_senseless_controllers_are_refused(wrong, error) -> None:
    with pytest.raises(ValueError, match=error):
        height_at(0.0, **wrong)


def test_a_quantity_that_cannot_be_read_is_refused_before_anything_runs(toy) -> None:
    with (
        pytest.raises(IncompatibleError, match=r"height needs.*z in m"),
        toy.intervene(height_at(0.0, quantity="height")),
    ):
        pass
    with (
        pytest.raises(UnknownName, match=r"position\.y"),
        toy.intervene(height_at(0.0, quantity="position.yy")),
    ):
        pass


def test_it_survives_json() -> None:
    edit = height_at(0.3, steps=(4, 99))
    again = parse_intervention(edit.model_dump(mode="json"))
    assert again.model_dump(mode="json") == edit.model_dump(mode="json")


def test_the_point_is_held_at_a_height_that_no_goal_has(toy, tmp_path: Path) -> None:
    loop = height_at(-0.5)
    pushed = RandomDirection(at=GOAL, tokens="soft_prompt", like=loop)
    ends = {}
    for arm, edits in {"plain": (), "held": (loop,), "random": (pushed,)}.items():
        _, played = play(toy, tmp_path, *edits, arm=arm)
        ends[arm] = np.array([e["end_effector"][-1, 1] for e in played])
    assert np.abs(ends["held"] + 0.5).max() < 0.05
    assert np.abs(ends["plain"] + 0.5).min() > 0.1
    assert np.abs(ends["random"] + 0.5).min() > 0.1


def test_what_the_loop_did_is_kept_beside_the_episode(toy, tmp_path: Path) -> None:
    records, played = play(toy, tmp_path, height_at(-0.5), seeds=[0])
    log = {name: played[0][f"edit.0.{name}"] for name in ("step", "measured", "alpha")}
    np.testing.assert_array_equal(log["step"], np.arange(0, 40, 2))
    np.testing.assert_allclose(log["measured"], played[0]["end_effector"][:-1:2, 1], atol=1e-6)
    assert (np.abs(log["alpha"]) <= 2).all()
    assert records[0].receipts[0].dx_ratio_max > 0


def test_the_point_keeps_moving_at_a_speed_where_it_would_rest(toy, tmp_path: Path) -> None:
    edit = SteerTo(
        at="expert.0.resid_post",
        direction=ALONG,
        quantity="speed",
        target=0.4,
        hz=10,
        gain=0.3,
        integral=1.0,
        limits=(0, 3),
        relative=False,
    )
    seeds = (3, 4, 8, 9, 10)  # goals with room to the right of them
    _, plain = play(toy, tmp_path, arm="plain", seeds=seeds)
    _, held = play(toy, tmp_path, edit, seeds=seeds)

    def speed(episode):
        path = episode["end_effector"][-13::2]
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean() / 0.2)

    assert max(speed(e) for e in plain) < 0.1
    assert [speed(e) for e in held] == pytest.approx([0.4] * 5, abs=0.05)


def test_batching_and_repeating_change_nothing(toy, tmp_path: Path) -> None:
    _, one = play(toy, tmp_path / "one", height_at(0.1), batch=1)
    _, again = play(toy, tmp_path / "again", height_at(0.1), batch=1, seeds=[3, 2, 1, 0])
    _, many = play(toy, tmp_path / "many", height_at(0.1))
    for a, b, c in zip(one, reversed(again), many, strict=True):
        for name in ("action", "edit.0.alpha", "edit.0.measured"):
            np.testing.assert_array_equal(a[name], b[name])
            np.testing.assert_allclose(a[name], c[name], atol=1e-5)
