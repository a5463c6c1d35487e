"""A benchmark whose tasks misbehave on purpose, and a policy for it: a third party's plugin."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from vlascope.benchmark import BenchmarkEnv, BenchmarkInfo, Task
from vlascope.hookspecs import Register, hookimpl
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.types import Image, Observation, Pose, StepResult

ACTION = ActionSpec(("x", "y"), "point_velocity", "none", "none", "none", (-1.0, -1.0), (1.0, 1.0))
STATE = StateSpec(("x", "y", "goal_x", "goal_y"), ("m",) * 4)
CAMERA = CameraSpec(8, 8)


@hookimpl
def register_benchmarks(register: Register) -> None:
    register("trick", "trick_world:TrickWorld", summary="misbehaves on purpose")


class TrickWorld(BenchmarkEnv):
    """A point that should reach a goal.

    Tasks: `walk` behaves; `raises`, `crashes` and `hangs` do so at step 6; `sulks` raises at every
    reset; `naps` sleeps 5 ms a step.
    """

    name: ClassVar[str] = "trick"

    def __init__(self, *, max_steps: int = 20, broken: bool = False, misfit: bool = False) -> None:
        if broken:
            raise RuntimeError("the licence server is down")
        dims = 3 if misfit else 2
        action = ActionSpec(
            ("x", "y", "z")[:dims],
            "point_velocity",
            "none",
            "none",
            "none",
            (-1.0,) * dims,
            (1.0,) * dims,
        )
        self.info = BenchmarkInfo("trick", action, {"state": STATE}, {"eye": CAMERA}, max_steps, 10)
        self.at = self.goal = np.zeros(2)
        self.steps = 0
        self.playing = ""
        self.renders = 0

    @classmethod
    def suites(cls) -> Mapping[str, tuple[Task, ...]]:
        names = ("walk", "raises", "crashes", "hangs", "sulks", "naps")
        return {"all": tuple(Task(n, f"go and {n}", scene="plane") for n in names)}

    def start(self, task: Task, *, seed: int) -> None:
        if task.name == "sulks":
            raise RuntimeError("the simulator sulks")
        rng = np.random.default_rng(seed)
        self.at, self.goal = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2)
        self.steps, self.playing, self.instruction = 0, task.name, task.instruction

    def predicates(self) -> Mapping[str, bool]:
        return {"near": self.distance() < 0.5, "far": self.distance() > 1.0}

    def distance(self) -> float:
        return float(np.linalg.norm(self.at - self.goal))

    def step(self, action: Any) -> StepResult:
        self.steps += 1
        if self.steps == 6:
            misbehave(self.playing)
        if self.playing == "naps":
            time.sleep(0.005)
        self.at = self.at + 0.2 * np.asarray(action[:2], np.float64)
        success = self.distance() < 0.2
        return StepResult(
            success=success,
            terminated=success,
            truncated=self.steps >= self.info.max_steps,
            predicates=self.predicates(),
        )

    def sense(self) -> Observation:
        image = np.full((8, 8, 3), self.steps, np.uint8)
        state = np.concatenate([self.at, self.goal]).astype(np.float32)
        return Observation(self.instruction, {"eye": image}, {"state": state})

    def scene_state(self) -> Mapping[str, Pose]:
        return {
            "end_effector": Pose(np.append(self.at, 0.0)),
            "goal": Pose(np.append(self.goal, 0.0)),
        }


def misbehave(how: str) -> None:
    if how == "raises":
        raise ValueError("the joint left its limits")
    if how == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hangs":
        time.sleep(600)


def darken(camera: str, image: Image) -> Image:
    return image // 2


if TYPE_CHECKING:
    from vlascope.hooks import HookPoint
    from vlascope.taps import Tap


def walker(seed: int = 0, **changes: Any) -> Any:
    """A policy that walks to the goal with some noise; torch is imported only here."""
    import torch
    from torch import nn

    from vlascope.adapter import AdapterInfo, VLAAdapter
    from vlascope.hooks import HookPoint, Pathway, TokenSpans
    from vlascope.noise import normal
    from vlascope.taps import OutputTap
    from vlascope.types import ActionChunk

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(2, 16)
            self.block = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
            self.out = nn.Linear(16, 2)

        def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(x) + 0.1 * self.block(self.embed(noise))
            return self.out(hidden)

    class Walker(VLAAdapter):
        name = "walker"

        def __init__(self) -> None:
            torch.manual_seed(seed)
            self.model = Net().eval()
            self.batches: list[int] = []
            info = {
                "name": "walker",
                "checkpoint": f"tiny:{seed}",
                "checkpoint_hash": f"{seed:064x}",
                "pathways": (Pathway("trunk", 1, 16, 2),),
                "horizon": 6,
                "executed_steps": 4,
                "action": ACTION,
                "state": {"state": STATE},
                "cameras": {"eye": CAMERA},
            }
            self.info = AdapterInfo(**{**info, **changes})
            with torch.no_grad():
                self.model.out.weight.copy_(torch.linalg.pinv(self.model.embed.weight))
                self.model.out.bias.copy_(-self.model.out.weight @ self.model.embed.bias)

        @classmethod
        def from_pretrained(cls, checkpoint: str, **_: Any) -> Self:
            return cls()

        @classmethod
        def tiny(cls, seed: int = 0) -> Self:
            return cls()

        def hook_points(self) -> Mapping[HookPoint, Tap]:
            return {HookPoint("trunk", 0, "resid_post"): OutputTap("block")}

        def token_spans(self, observations: Any, *, call: int = 0) -> Any:
            spans = TokenSpans({"state": (0, 2), "action": (2, 6)})
            return {"trunk": (spans,) * len(observations)}

        def predict_chunk(
            self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
        ) -> ActionChunk:
            self.batches.append(len(observations))
            state = torch.stack([torch.as_tensor(o.state["state"]) for o in observations])
            gap = (state[:, None, 2:] - state[:, None, :2]).repeat(1, 6, 1)
            for _ in range(2):
                noise = normal(generators, (6, 2))
                actions = self.model(gap, noise)
            return ActionChunk(actions.clamp(-1, 1).numpy())

    return Walker()


def drifter(info: BenchmarkInfo) -> Any:
    """A policy for any benchmark whose actions are noise."""
    import torch
    from torch import nn

    from vlascope.adapter import AdapterInfo, VLAAdapter
    from vlascope.noise import normal
    from vlascope.types import ActionChunk

    class Drifter(VLAAdapter):
        name = "drifter"

        def __init__(self) -> None:
            self.model = nn.Identity()
            self.info = AdapterInfo(
                "drifter", "none", "0" * 64, (), 10, 10, info.action, info.state, info.cameras
            )

        @classmethod
        def from_pretrained(cls, checkpoint: str, **_: Any) -> Self:
            return cls()

        @classmethod
        def tiny(cls, seed: int = 0) -> Self:
            return cls()

        def hook_points(self) -> Mapping[HookPoint, Tap]:
            return {}

        def predict_chunk(
            self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
        ) -> ActionChunk:
            return ActionChunk(normal(generators, (10, info.action.dim)).clamp(-1, 1).numpy())

    return Drifter()
