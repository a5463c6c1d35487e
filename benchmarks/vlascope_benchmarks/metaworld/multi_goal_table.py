"""The table of the multi-goal scene, put together from MetaWorld's own parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import metaworld
import mujoco
import numpy as np
from gymnasium.spaces import Box
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from vlascope.types import FloatArray
from vlascope_benchmarks.metaworld.simulators import Float64, unlock

__all__ = ["BALLS", "MultiGoalTable", "write_model"]


BALLS: Mapping[str, str] = {"red": "1 0 0 1", "green": "0 0.85 0 1", "blue": "0 0.1 1 1"}
"""Colour name to MuJoCo rgba; the balls are markers that the hand passes through."""

BALL_RADIUS = 0.04
BALL_GAP = 0.14
"""How far apart, in metres, the centres of two balls are at least."""
_XML = """
<mujoco>
  <include file="../scene/basic_scene.xml"/>
  <include file="../objects/assets/drawer_dependencies.xml"/>
  <include file="../objects/assets/faucet_dependencies.xml"/>
  <include file="../objects/assets/buttonbox_dependencies.xml"/>
  <include file="../objects/assets/xyz_base_dependencies.xml"/>
  <asset><material name="ball" emission="0.5" specular="0.2"/></asset>
  <worldbody>
    <include file="../objects/assets/xyz_base.xml"/>
    <body name="drawer" pos="-0.34 0.9 0">
      <include file="../objects/assets/drawer.xml"/>
    </body>
    <body name="faucetBase" pos="0 0.8 0">
      <include file="../objects/assets/faucet.xml"/>
    </body>
    <body name="box" pos="0.37 0.8 0.115" euler="-1.57 0 0">
      <include file="../objects/assets/buttonbox.xml"/>
      <site name="hole" pos="0 -0.1 0" size="0.005" rgba="0 0 0 0"/>
    </body>
    {balls}
  </worldbody>
  <actuator>
    <position joint="r_close" ctrllimited="true" ctrlrange="-1 1" kp="400" user="1"/>
    <position joint="l_close" ctrllimited="true" ctrlrange="-1 1" kp="400" user="1"/>
  </actuator>
  <equality><weld body1="mocap" body2="hand" solref="0.02 1"/></equality>
</mujoco>
"""
_BALL_XML = (
    '<site name="ball_{name}" type="sphere" pos="0 0.6 {radius}" size="{radius}" '
    'material="ball" rgba="{rgba}"/>'
)


class MultiGoalTable(SawyerXYZEnv):  # type: ignore[misc]
    """The robot and its table with everything on it; success is judged elsewhere."""

    def __init__(self, model_path: Path) -> None:
        self._model_path = model_path
        super().__init__(hand_low=(-0.5, 0.4, 0.05), hand_high=(0.5, 1.0, 0.5))
        self.hand_init_pos = np.array([0.0, 0.6, 0.25])
        self.goal_space = Box(np.zeros(3), np.ones(3), dtype=np.float64)
        self._target_pos = np.zeros(3)
        self.random = np.random.default_rng(0)
        unlock(self)

    @property
    def model_name(self) -> str:
        """The XML to load."""
        return str(self._model_path)

    @property
    def _target_site_config(self) -> list[tuple[str, Float64]]:
        return []

    def _get_pos_objects(self) -> Float64:
        return np.zeros(3)

    def _get_quat_objects(self) -> Float64:
        return np.array([1.0, 0.0, 0.0, 0.0])

    def evaluate_state(
        self,
        obs: Float64,
        action: FloatArray,
    ) -> tuple[float, dict[str, Any]]:
        """Nothing is rewarded here."""
        return 0.0, {}

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Float64, dict[str, Any]]:
        """Arrange the table anew from `self.random`; the arguments are ignored, as upstream."""
        mujoco.mj_resetData(self.model, self.data)
        self._reset_hand()
        self._place_furniture()
        self._place_balls()
        self._reset_hand()
        return self._get_obs(), {}

    def _place_furniture(self) -> None:
        draw = self.random.uniform
        self.model.body("drawer").pos[:] = [draw(-0.38, -0.30), 0.9, 0.0]
        self.model.body("faucetBase").pos[:] = [draw(-0.03, 0.02), draw(0.78, 0.84), 0.0]
        self.model.body("box").pos[:] = [draw(0.34, 0.41), draw(0.76, 0.84), 0.115]
        self.data.joint("goal_slidey").qpos[:] = -draw(0.07, 0.11)
        mujoco.mj_forward(self.model, self.data)

    def _place_balls(self) -> None:
        """Scatter the balls, apart from each other and not under the faucet's handle."""
        taken: list[Float64] = [self.data.site("handleStartOpen").xpos[:2].copy()]
        while len(taken) <= len(BALLS):
            spot = self.random.uniform([-0.3, 0.45], [0.3, 0.62])
            if all(np.linalg.norm(spot - other) > BALL_GAP for other in taken):
                taken.append(spot)
        for name, spot in zip(BALLS, taken[1:], strict=True):
            self.model.site(f"ball_{name}").pos[:] = [*spot, BALL_RADIUS]


def write_model(folder: Path) -> Path:
    """Put the scene's XML beside links to the package's meshes, where its includes resolve."""
    assets = Path(metaworld.__file__).parent / "assets"
    for name in ("objects", "scene", "textures"):
        (folder / name).symlink_to(assets / name)
    (folder / "sawyer_xyz").mkdir()
    balls = "\n    ".join(
        _BALL_XML.format(name=name, rgba=rgba, radius=BALL_RADIUS) for name, rgba in BALLS.items()
    )
    path = folder / "sawyer_xyz" / "multi_goal.xml"
    path.write_text(_XML.format(balls=balls))
    return path
