"""One scene, eight instructions: a drawer, a faucet, a button and three coloured balls.

Nothing in the picture tells which of the eight is wanted; only the instruction does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from metaworld.policies import (
    SawyerButtonPressTopdownV3Policy,
    SawyerDrawerCloseV3Policy,
    SawyerDrawerOpenV3Policy,
    SawyerFaucetCloseV3Policy,
    SawyerFaucetOpenV3Policy,
)

from vlascope.types import FloatArray, Pose, StepResult
from vlascope_benchmarks.metaworld.multi_goal_table import BALLS, MultiGoalTable, write_model
from vlascope_benchmarks.metaworld.simulators import Float64, Simulator, scripted_action
from vlascope_benchmarks.metaworld.tasks import MULTI_GOAL_SCENE

__all__ = ["MultiGoalSimulator"]

HAND_ABOVE_BALL = 0.06
"""How far over the ball's centre the hand frame is when the fingers are in it, in metres."""

FAUCET_TURN = 1.2
"""The angle to either side, in radians, from which the faucet counts as turned."""


class MultiGoalSimulator(Simulator):
    """Plays any of the eight instructions; the seed alone decides the scene."""

    env: MultiGoalTable

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vlascope-multi-goal-")
        super().__init__(MultiGoalTable(write_model(Path(self._folder.name))))
        self._goal = ""

    def expert(self) -> FloatArray:
        """The expert of the present instruction, fed with where its object is."""
        return self._experts[self._goal]()

    def predicates(self) -> Mapping[str, bool]:
        """Whether each of the eight instructions holds at this moment, by task name."""
        slide = float(self.data.joint("goal_slidey").qpos[0])
        knob = float(self.data.joint("knob_Joint_1").qpos[0])
        holds = {
            "open-drawer": slide < -0.145,
            "close-drawer": slide > -0.02,
            "faucet-left": knob < -FAUCET_TURN,
            "faucet-right": knob > FAUCET_TURN,
            "press-button": self._button_height() < 0.024,
        }
        hand = self.env.get_endeff_pos()
        for ball in BALLS:
            target = self._ball(ball) + _offset(z=HAND_ABOVE_BALL)
            holds[f"reach-{ball}"] = float(np.linalg.norm(hand - target)) < 0.05
        return {f"{MULTI_GOAL_SCENE}/{name}": bool(value) for name, value in holds.items()}

    def close(self) -> None:
        """Let go of the model and of the folder it was read from."""
        super().close()
        vars(self).pop("_experts", None)  # they refer back to this object
        self._folder.cleanup()

    def _reset(self, task: str, seed: int) -> None:
        self._goal = task.removeprefix(f"{MULTI_GOAL_SCENE}/")
        self.env.random = np.random.default_rng(seed)
        self.env.reset()

    def _judge(self, info: Mapping[str, Any]) -> StepResult:
        predicates = self.predicates()
        return StepResult(
            success=predicates[f"{MULTI_GOAL_SCENE}/{self._goal}"], predicates=predicates
        )

    def _marks(self) -> Mapping[str, Pose]:
        return {
            **{f"ball_{name}": Pose(self._ball(name)) for name in BALLS},
            "drawer_handle": Pose(self._drawer_handle()),
            "faucet_handle": Pose(self.data.site("handleStartOpen").xpos.copy()),
        }

    def _ball(self, name: str) -> Float64:
        return np.array(self.model.site(f"ball_{name}").pos)

    def _drawer_handle(self) -> Float64:
        return np.array(self.data.body("drawer_link").xpos) + _offset(y=-0.16)

    def _button_top(self) -> Float64:
        return np.array(self.data.body("button").xpos) + _offset(z=0.193)

    def _button_height(self) -> float:
        """How far the button's top is from fully pressed, in metres."""
        return float(abs(self.data.site("hole").xpos[2] - self._button_top()[2]))

    def _tip(self, site: str) -> Float64:
        """Where an expert aims at to turn the faucet's handle from that side."""
        return np.array(self.data.site(site).xpos) + _offset(z=-0.01)

    @cached_property
    def _experts(self) -> Mapping[str, Callable[[], FloatArray]]:
        stock: dict[str, tuple[Callable[[], Any], Callable[[], Float64]]] = {
            "open-drawer": (SawyerDrawerOpenV3Policy, self._drawer_handle),
            "close-drawer": (SawyerDrawerCloseV3Policy, self._drawer_handle),
            "faucet-left": (SawyerFaucetCloseV3Policy, partial(self._tip, "handleStartClose")),
            "faucet-right": (SawyerFaucetOpenV3Policy, partial(self._tip, "handleStartOpen")),
            "press-button": (SawyerButtonPressTopdownV3Policy, self._button_top),
        }
        return {
            **{name: partial(self._stock_expert, *pair) for name, pair in stock.items()},
            **{f"reach-{name}": partial(self._go_to, name) for name in BALLS},
        }

    def _stock_expert(self, policy: Callable[[], Any], target: Callable[[], Float64]) -> FloatArray:
        """Show a stock policy a world in which the only object is at `target`."""
        shown = np.zeros(39)
        shown[:3] = self.env.get_endeff_pos()
        shown[4:7] = target()
        return scripted_action(policy(), shown)

    def _go_to(self, ball: str) -> FloatArray:
        """Fly over the ball, then come down on it."""
        hand = self.env.get_endeff_pos()
        target = self._ball(ball) + _offset(z=HAND_ABOVE_BALL - 0.01)
        if np.linalg.norm(hand[:2] - target[:2]) > 0.05:
            target[2] = max(target[2], 0.15)
        return np.clip([*(10.0 * (target - hand)), 0.0], -1.0, 1.0).astype(np.float32)


def _offset(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Float64:
    """A displacement in metres."""
    return np.array([x, y, z])
