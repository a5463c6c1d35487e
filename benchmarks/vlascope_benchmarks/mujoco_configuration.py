"""Where everything in a MuJoCo scene is, in few numbers: what a picture is drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlascope.types import FloatArray

__all__ = ["configuration_of", "put"]


def configuration_of(model: Any, data: Any, *, behind: bool) -> FloatArray:
    """Joint positions and mocap poses of the scene as it would be drawn, float32 (n,).

    Args:
        model: the `mujoco.MjModel`.
        data: the `mujoco.MjData`.
        behind: whether poses are those of the beginning of the last physics step, as `mj_step`
            leaves them. MuJoCo's Euler and implicit integrators move positions by the new velocity,
            so that the step is undone exactly by that velocity.
    """
    import mujoco

    positions = data.qpos.copy()
    if behind:
        mujoco.mj_integratePos(model, positions, -data.qvel, model.opt.timestep)
    parts = (positions, data.mocap_pos.ravel(), data.mocap_quat.ravel())
    return np.concatenate(parts).astype(np.float32)


def put(model: Any, data: Any, configuration: FloatArray) -> None:
    """Put everything where `configuration_of` once found it, at rest.

    Raises:
        ValueError: the configuration is of another scene.
    """
    import mujoco

    ends = np.cumsum([model.nq, data.mocap_pos.size, data.mocap_quat.size])
    if configuration.shape != (ends[-1],):
        raise ValueError(
            f"a configuration of this scene is ({ends[-1]},); got {configuration.shape}: it was "
            "kept of another scene or version"
        )
    positions, at, turned = np.split(configuration.astype(np.float64), ends[:-1])
    data.qpos[:], data.qvel[:] = positions, 0.0
    data.mocap_pos[:] = at.reshape(-1, 3)
    data.mocap_quat[:] = turned.reshape(-1, 4)
    mujoco.mj_forward(model, data)
