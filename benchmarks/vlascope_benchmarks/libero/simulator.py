"""One of LIBERO's tasks in robosuite: begun, stepped, read and photographed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope.errors import FileMissing
from vlascope.types import FloatArray, Pose
from vlascope_benchmarks.libero.assets import assets_folder, initial_states, task_file
from vlascope_benchmarks.libero.conditions import Conditions
from vlascope_benchmarks.libero.importing import import_libero
from vlascope_benchmarks.libero.moment import Moment
from vlascope_benchmarks.libero.specs import Control
from vlascope_benchmarks.libero.tasks import Place, goals_of_scene
from vlascope_benchmarks.mujoco_configuration import configuration_of, put

__all__ = ["Simulator"]

Float64 = npt.NDArray[np.float64]

_SETTLING = 10
_AT_REST = np.array([0, 0, 0, 0, 0, 0, -1.0])
_KEPT = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
"""The sensors that are read; the rest are switched off."""


class Simulator:
    """A loaded task; it draws nothing, and keeps the moment that its sensors saw last.

    robosuite's sensors look at a physics step near the end of a control step, not at its end, and
    its pictures show that moment. `moment` is a copy of it, so that a picture drawn later is the
    one robosuite would have drawn.

    Raises:
        FileMissing: assets or task files are not there; says which, and how to get them.
    """

    def __init__(
        self, task: Place, scene: str, *, assets: str | Path | None, pro: str | Path | None
    ) -> None:
        self.task = task
        file = task_file(task, pro)
        self._states = initial_states(task, pro)
        self._wrapped = _load(file, assets_folder(assets))
        self.env: Any = self._wrapped.env
        self.moment = Moment(self.env.sim)
        self._listen()
        self._conditions = Conditions(self.env, goals_of_scene(scene, task.suite))

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel`."""
        return self.env.sim.model._model

    @property
    def data(self) -> Any:
        """The `mujoco.MjData` after the last step."""
        return self.env.sim.data._data

    @property
    def robot(self) -> Any:
        """The arm and its gripper, in robosuite's terms."""
        return self.env.robots[0]

    def begin(self, seed: int, control: Control) -> None:
        """Fixtures where `seed` puts them, everything else in initial state `seed` modulo all."""
        with _own_chance(seed):
            self._wrapped.reset()
        self.robot.gripper.current_action = np.zeros(self.robot.gripper.dof)
        self._wrapped.set_init_state(self._states[seed % len(self._states)])
        for _ in range(_SETTLING):
            self.env.step(_AT_REST)
        self.robot.controller.use_delta = control == "delta"

    def step(self, action: FloatArray) -> None:
        """Apply one action for a twentieth of a second."""
        self.env.step(action)

    def state(self) -> Mapping[str, FloatArray]:
        """The state streams, float32, as lerobot's environment and its processor give them."""
        seen = {name: np.asarray(self.env._observables[name].obs) for name in _KEPT}
        columns = np.asarray(self.robot.controller.ee_ori_mat)[:, :2]
        return {
            "eef_position": seen["robot0_eef_pos"].astype(np.float32),
            "eef_axis_angle": axis_angle(seen["robot0_eef_quat"]),
            "gripper_fingers": seen["robot0_gripper_qpos"].astype(np.float32),
            "site_columns": columns.T.reshape(6).astype(np.float32),
        }

    def success(self) -> bool:
        """Whether the task's goal holds."""
        return bool(self.env._check_success())

    def predicates(self) -> Mapping[str, bool]:
        """Goals and conditions of the scene's tasks, and what the gripper holds and touches."""
        return self._conditions.now()

    def configuration(self) -> FloatArray:
        """Joint positions at the end of the last control step, float32 (n,)."""
        return configuration_of(self.model, self.data, behind=True)

    def show(self, configuration: FloatArray) -> None:
        """Put the scene so, lights and flames included; it cannot be stepped on from there."""
        put(self.model, self.data, configuration)
        self._wrapped._post_process()
        self.moment.keep()

    def poses(self) -> Mapping[str, Pose]:
        """The gripper, every object and fixture, and every place that has a name."""
        found = {"end_effector": self._site(self.robot.eef_site_id)}
        for name, body in self.env.obj_body_id.items():
            at = self.data.xpos[body], self.data.xquat[body]
            found[name] = Pose(at[0].copy(), at[1].copy())
        for name in self.env.object_sites_dict:
            found[name] = self._site(self.model.site(name).id)
        return found

    def close(self) -> None:
        """Let go of the model."""
        self._wrapped.close()

    def _site(self, index: int) -> Pose:
        import mujoco

        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, self.data.site_xmat[index])
        return Pose(self.data.site_xpos[index].copy(), quaternion)

    def _listen(self) -> None:
        """Switch off the sensors that nobody reads, and add one that keeps the moment."""
        from robosuite.utils.observables import Observable, sensor

        def look(_: Mapping[str, Any]) -> float:
            self.moment.keep()
            return 0.0

        look_out = sensor(modality="moment")(look)
        known = self.env._observables
        for name, observable in known.items():
            observable.set_enabled(name in _KEPT)
        known["moment"] = Observable("moment", look_out, sampling_rate=self.env.control_freq)


def axis_angle(quaternion: Float64) -> FloatArray:
    """A unit quaternion x-y-z-w as axis times angle in [0, 2π], in float32 throughout."""
    x, y, z, w = quaternion.astype(np.float32)
    w = np.clip(w, np.float32(-1), np.float32(1))
    sine = np.sqrt(np.maximum(np.float32(1) - w * w, np.float32(0)))
    if sine <= 1e-10:
        return np.zeros(3, np.float32)
    turned: FloatArray = np.array([x, y, z], np.float32) / sine * (np.float32(2) * np.arccos(w))
    return turned


def _load(file: Path, assets: Path) -> Any:
    """LIBERO's environment without a renderer.

    A missing mesh or texture is the commonest failure, and MuJoCo says only its name.
    """
    envs = import_libero(assets)
    from vlascope_benchmarks.libero.variants import register_variants

    register_variants()
    wrapper = envs.env_wrapper.ControlEnv
    try:
        return wrapper(
            bddl_file_name=str(file),
            use_camera_obs=False,
            has_offscreen_renderer=False,
            ignore_done=True,
            hard_reset=False,
        )
    except (FileNotFoundError, ValueError) as error:
        if not re.search(r"(?i)no such file|error opening file|resource not found", str(error)):
            raise
        raise FileMissing(
            f"{file.stem} needs a file that LIBERO's assets in {assets} do not hold: {error}; "
            "install them anew with `pip install --force-reinstall 'vlascope[libero-assets]'`"
        ) from error


@contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    """NumPy's global generator, from which LIBERO draws, seeded here and as it was afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
