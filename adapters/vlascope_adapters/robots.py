"""What the numbers of a trained checkpoint mean.

Checkpoints of the field say how many numbers they take and give, and not what they are. A `Robot`
says it: the meaning of actions, state and cameras of one well-known set of demonstrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from vlascope.errors import IncompatibleError, unknown_name
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import FloatArray, Observation

__all__ = ["ROBOTS", "Robot", "robot_for"]


@dataclass(frozen=True)
class Robot:
    """The body, the cameras and the conventions that a policy was trained with.

    Attributes:
        name: what users type.
        action: what each action number does.
        state: proprioceptive streams; laid end to end in this order they are the policy's state.
        cameras: what the policy looks at, by the benchmark's camera name.
        views: under which names checkpoints and datasets call each camera.
    """

    name: str
    action: ActionSpec
    state: Mapping[str, StateSpec]
    cameras: Mapping[str, CameraSpec]
    views: Mapping[str, tuple[str, ...]]

    @property
    def state_dim(self) -> int:
        """The length of the whole state."""
        return sum(spec.dim for spec in self.state.values())

    def seen_at(self, pixels: int, render: Literal["fast", "full"] = "full") -> Robot:
        """The same robot looked at in square pictures of another size."""
        cameras = {
            name: replace(camera, height=pixels, width=pixels, render=render)
            for name, camera in self.cameras.items()
        }
        return replace(self, cameras=cameras)

    def camera_of(self, view: str) -> str:
        """The camera that a checkpoint calls `view` (`observation.images.image2`, or `image2`).

        Raises:
            IncompatibleError: no camera goes by that name.
        """
        short = view.rsplit(".", 1)[-1]
        for camera in self.cameras:
            if short == camera or short in self.views.get(camera, ()):
                return camera
        known = {camera: [camera, *self.views.get(camera, ())] for camera in self.cameras}
        raise IncompatibleError(
            f"the checkpoint looks at {view!r}, and robot {self.name!r} has no camera of that name "
            f"(it knows {known}); give another robot=, or a Robot whose views name it"
        )

    def state_vector(self, observation: Observation) -> FloatArray:
        """Every stream end to end, float32 (state_dim,).

        Raises:
            ValueError: a stream is missing or of another length.
        """
        parts = []
        for name, spec in self.state.items():
            values = observation.state.get(name)
            if values is None or values.shape != (spec.dim,):
                found = {key: given.shape for key, given in observation.state.items()}
                raise ValueError(
                    f"robot {self.name!r} needs state {name!r}, ({spec.dim},) = {spec.names}; "
                    f"the observation has {found}"
                )
            parts.append(values.astype(np.float32))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def picture(self, observation: Observation, camera: str) -> Any:
        """One camera's picture, uint8 (height, width, 3).

        Raises:
            ValueError: it is missing, no uint8, or of another size than the policy was trained on.
        """
        spec = self.cameras[camera]
        picture = observation.images.get(camera)
        wanted = ("uint8", (spec.height, spec.width, 3))
        if picture is None or (picture.dtype.name, picture.shape) != wanted:
            found = {
                name: (image.dtype.name, image.shape) for name, image in observation.images.items()
            }
            raise ValueError(
                f"robot {self.name!r} looks at {camera!r}, {wanted}; the observation has {found}: "
                "set the benchmark's camera options"
            )
        return picture


def robot_for(robot: Robot | str | None, hints: Iterable[str]) -> Robot:
    """The robot asked for, or the only one that the hints (checkpoint, dataset) speak of.

    Raises:
        UnknownName: no robot goes by that name.
        IncompatibleError: none was asked for and the hints do not tell; nothing is guessed.
    """
    if isinstance(robot, Robot):
        return robot
    if robot is not None:
        if robot not in ROBOTS:
            raise unknown_name("robot", robot, ROBOTS)
        return ROBOTS[robot]
    said = [hint.lower() for hint in hints if hint]
    told = {name for hint in said for name in _named_in(hint)}
    found = [name for name in ROBOTS if name in told]
    if len(found) != 1:
        raise IncompatibleError(
            f"nothing in {said} tells what this checkpoint's numbers mean"
            + (f" (it could be {' or '.join(found)})" if found else "")
            + f"; say it with robot=NAME, one of {', '.join(sorted(ROBOTS))}, or give a Robot"
        )
    return ROBOTS[found[0]]


def _named_in(hint: str) -> list[str]:
    """Robots that a text names; of a name and a longer one that holds it, the longer."""
    found = [name for name in ROBOTS if name in hint]
    return [name for name in found if not any(name in other for other in found if other != name)]


def _numbers(names: Sequence[str], unit: str) -> StateSpec:
    return StateSpec(names=tuple(names), units=(unit,) * len(names))


_METAWORLD = Robot(
    name="metaworld",
    action=ActionSpec(
        names=("x", "y", "z", "gripper"),
        control="ee_delta",
        frame="world",
        rotation="none",
        gripper="positive_closes",
        low=(-1.0,) * 4,
        high=(1.0,) * 4,
    ),
    state={
        "proprio": StateSpec(names=("x", "y", "z", "gripper"), units=("m", "m", "m", "1")),
    },
    cameras={"corner2": CameraSpec(480, 480)},
    views={"corner2": ("image", "camera1", "top")},
)

_LIBERO = Robot(
    name="libero",
    action=ActionSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        control="ee_delta",
        frame="world",
        rotation="axis_angle",
        gripper="positive_closes",
        low=(-1.0,) * 7,
        high=(1.0,) * 7,
    ),
    state={
        "eef_position": _numbers(("x", "y", "z"), "m"),
        "eef_axis_angle": _numbers(("rx", "ry", "rz"), "rad"),
        "gripper_fingers": _numbers(("left", "right"), "m"),
    },
    cameras={"agentview": CameraSpec(256, 256), "wrist": CameraSpec(256, 256)},
    views={
        "agentview": ("image", "camera1", "base_0_rgb", "full_image"),
        "wrist": ("image2", "camera2", "wrist_image", "left_wrist_0_rgb"),
    },
)

_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
_ARMS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _JOINTS)
_ALOHA = Robot(
    name="aloha",
    action=ActionSpec(
        names=_ARMS,
        control="joint_absolute",
        frame="none",
        rotation="none",
        gripper="positive_opens",
        low=(*(-3.14158,) * 6, 0.0) * 2,
        high=(*(3.14158,) * 6, 1.0) * 2,
    ),
    state={
        "joints": StateSpec(
            names=_ARMS, units=tuple("1" if n.endswith("gripper") else "rad" for n in _ARMS)
        )
    },
    cameras={"top": CameraSpec(480, 640)},
    views={"top": ("cam_high",)},
)

_REACH = 2.0
_LIBERO_ABSOLUTE = replace(
    _LIBERO,
    name="libero_absolute",
    # Poses in metres and radians, LIBERO's controller with `use_delta = False`.
    action=replace(
        _LIBERO.action,
        control="ee_absolute",
        low=(*(-_REACH,) * 3, *(-3.14159,) * 3, -1.0),
        high=(*(_REACH,) * 3, *(3.14159,) * 3, 1.0),
    ),
    # The gripper's site, two columns of the controller's `ee_ori_mat`: not the orientation of
    # `robot0_eef_quat`, which is the hand's.
    state={
        "eef_position": _LIBERO.state["eef_position"],
        "site_columns": _numbers(("r11", "r21", "r31", "r12", "r22", "r32"), "1"),
    },
    # Learned from the wrist's picture as the simulator renders it, upside down.
    cameras={**_LIBERO.cameras, "wrist": CameraSpec(256, 256, upright=False)},
)

ROBOTS: Mapping[str, Robot] = {r.name: r for r in (_METAWORLD, _LIBERO, _LIBERO_ABSOLUTE, _ALOHA)}
"""Robots by name; add one's own by passing a `Robot` to `from_pretrained`."""
