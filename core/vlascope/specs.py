"""What the numbers mean: actions, states and cameras, checked before the first rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlascope.errors import IncompatibleError

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo
    from vlascope.benchmark import BenchmarkInfo

__all__ = ["ActionSpec", "CameraSpec", "Mismatch", "StateSpec", "check_compatible", "mismatches"]

Control = Literal["ee_delta", "ee_absolute", "joint_delta", "joint_absolute", "point_velocity"]
Frame = Literal["world", "base", "tool", "none"]
Rotation = Literal["none", "axis_angle", "euler_xyz", "quaternion_xyzw", "quaternion_wxyz", "rot6d"]
Gripper = Literal["none", "positive_closes", "positive_opens"]


@dataclass(frozen=True)
class ActionSpec:
    """What each action number does to the robot; no field has a default where one is unsafe.

    Attributes:
        names: one name per dimension, in order (`"x"`, `"gripper"`).
        control: deltas or absolute targets, of the end effector or of joints.
        frame: the frame that end-effector numbers are in.
        rotation: how orientation is written, or `"none"` where no dimension rotates.
        gripper: what a positive gripper number does.
        low, high: inclusive range per dimension, in the environment's units.
    """

    names: tuple[str, ...]
    control: Control
    frame: Frame
    rotation: Rotation
    gripper: Gripper
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise ValueError(
                f"names, low and high need one entry per dimension; got {len(self.names)}, "
                f"{len(self.low)} and {len(self.high)}"
            )

    @property
    def dim(self) -> int:
        """The number of action dimensions."""
        return len(self.names)


@dataclass(frozen=True)
class StateSpec:
    """One proprioceptive stream: a name per number (`"x"`) and its unit (`"m"`, `"rad"`, `"1"`)."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.units):
            raise ValueError(f"{len(self.names)} names need as many units, got {len(self.units)}")

    @property
    def dim(self) -> int:
        """The length of the vector."""
        return len(self.names)


@dataclass(frozen=True)
class CameraSpec:
    """One camera's picture.

    Attributes:
        height, width: pixels.
        render: `"full"` with shadows and reflections, `"fast"` without. The two look different
            to a policy, so a policy trained on one is not evaluated on the other.
        upright: whether row 0 is the top of the scene as a person would see it.
    """

    height: int
    width: int
    render: Literal["fast", "full"] = "full"
    upright: bool = True


@dataclass(frozen=True)
class Mismatch:
    """One way in which a policy does not fit a benchmark; `code` is stable."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


def mismatches(policy: AdapterInfo, env: BenchmarkInfo) -> list[Mismatch]:
    """Every way in which `policy` does not fit `env`; empty when they fit."""
    return [
        *_action_mismatches(policy.action, env.action),
        *_camera_mismatches(policy.cameras, env.cameras),
        *_state_mismatches(policy.state, env.state),
    ]


def check_compatible(policy: AdapterInfo, env: BenchmarkInfo) -> None:
    """Refuse a policy whose actions, cameras or state do not mean what the benchmark's do.

    Raises:
        IncompatibleError: listing every mismatch with its stable code.
    """
    found = mismatches(policy, env)
    if found:
        lines = "\n  ".join(str(m) for m in found)
        raise IncompatibleError(
            f"{policy.name} ({policy.checkpoint}) does not fit benchmark {env.name}:\n  {lines}"
        )


def _action_mismatches(policy: ActionSpec, env: ActionSpec) -> Iterator[Mismatch]:
    if policy.dim != env.dim:
        yield Mismatch(
            "action-dim",
            f"the policy gives {policy.dim} numbers {policy.names}, "
            f"the benchmark takes {env.dim} {env.names}",
        )
    for field in ("control", "frame", "rotation", "gripper"):
        ours, theirs = getattr(policy, field), getattr(env, field)
        if ours != theirs:
            yield Mismatch(
                f"action-{field}", f"the policy's is {ours!r}, the benchmark's is {theirs!r}"
            )


def _camera_mismatches(
    policy: Mapping[str, CameraSpec], env: Mapping[str, CameraSpec]
) -> Iterator[Mismatch]:
    for name, wanted in policy.items():
        given = env.get(name)
        if given is None:
            yield Mismatch(
                "camera-missing",
                f"the policy reads camera {name!r}; the benchmark offers {sorted(env)}",
            )
            continue
        if (given.height, given.width) != (wanted.height, wanted.width):
            yield Mismatch(
                "camera-size",
                f"{name!r} is {given.height}x{given.width}; the policy was trained on "
                f"{wanted.height}x{wanted.width}: set the benchmark's camera size option",
            )
        if given.render != wanted.render:
            yield Mismatch(
                "camera-render",
                f"{name!r} is rendered {given.render!r}; the policy was trained on "
                f"{wanted.render!r}: set the benchmark's render option",
            )
        if given.upright != wanted.upright:
            yield Mismatch("camera-flip", f"{name!r} is upside down for this policy")


def _state_mismatches(
    policy: Mapping[str, StateSpec], env: Mapping[str, StateSpec]
) -> Iterator[Mismatch]:
    for name, wanted in policy.items():
        given = env.get(name)
        if given is None:
            yield Mismatch(
                "state-missing", f"the policy reads {name!r}; the benchmark offers {sorted(env)}"
            )
        elif given != wanted:
            yield Mismatch(
                "state-meaning",
                f"{name!r} is {given.names} in {given.units}; the policy expects "
                f"{wanted.names} in {wanted.units}",
            )
