"""The tasks of SimplerEnv: what is said, and which twin plays it; no simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vlascope.benchmark import Task

__all__ = ["REMOTE_TASKS", "TWINS", "Twin", "suites"]


@dataclass(frozen=True)
class Twin:
    """One digital twin as ManiSkill 3 knows it.

    Attributes:
        task: what vlascope calls it.
        environment: the class in ManiSkill's `put_on_in_scene`.
        source, target: the models of the thing to move and of the place to put it.
        moved, place: plain words for them.
        sink: whether the scene is the sink; else it is the table.
        models_json: the table of the models' sizes.
        starts: how many initial states there are.
        max_steps: SimplerEnv's length of an episode.
        needs_contact: whether success wants source and target to press on each other.
        slack: how far above the target the source may be, in metres.
    """

    task: Task
    environment: str
    source: str
    target: str
    moved: str
    place: str
    starts: int
    max_steps: int = 60
    sink: bool = False
    models_json: str = "info_bridge_custom_v0.json"
    needs_contact: bool = True
    slack: float = 0.02


_CARROT = Twin(
    task=Task(
        name="widowx_carrot_on_plate",
        instruction="put carrot on plate",
        paraphrases=("place the carrot on the plate", "move the carrot onto the plate"),
        scene="carrot_and_plate",
        tags=("widowx", "table"),
        verb="put",
        object="carrot",
        motor="grasp, lift, move sideways and let go",
    ),
    environment="PutCarrotOnPlateInScene",
    source="bridge_carrot_generated_modified",
    target="bridge_plate_objaverse_larger",
    moved="carrot",
    place="plate",
    starts=24,
)
_SPOON = Twin(
    task=Task(
        name="widowx_spoon_on_towel",
        instruction="put the spoon on the towel",
        paraphrases=("place the spoon on the cloth", "move the spoon onto the towel"),
        scene="spoon_and_towel",
        tags=("widowx", "table"),
        verb="put",
        object="the spoon",
        motor="grasp, lift, move sideways and let go",
    ),
    environment="PutSpoonOnTableClothInScene",
    source="bridge_spoon_generated_modified",
    target="table_cloth_generated_shorter",
    moved="spoon",
    place="towel",
    starts=24,
    needs_contact=False,
)
_CUBES = Twin(
    task=Task(
        name="widowx_stack_cube",
        instruction="stack the green block on the yellow block",
        paraphrases=(
            "put the green block on top of the yellow block",
            "place the green cube on the yellow cube",
        ),
        scene="two_cubes",
        tags=("widowx", "table"),
        verb="stack",
        object="the green block",
        motor="grasp, lift, move sideways and let go",
    ),
    environment="StackGreenCubeOnYellowCubeBakedTexInScene",
    source="baked_green_cube_3cm",
    target="baked_yellow_cube_3cm",
    moved="green_block",
    place="yellow_block",
    starts=24,
    models_json="info_bridge_custom_baked_tex_v0.json",
)
_EGGPLANT = Twin(
    task=Task(
        name="widowx_put_eggplant_in_basket",
        instruction="put eggplant into yellow basket",
        paraphrases=(
            "place the eggplant in the yellow basket",
            "move the eggplant into the basket",
        ),
        scene="sink",
        tags=("widowx", "sink"),
        verb="put",
        object="eggplant",
        motor="grasp, lift, move sideways and let go",
    ),
    environment="PutEggplantInBasketScene",
    source="eggplant",
    target="dummy_sink_target_plane",
    moved="eggplant",
    place="basket",
    starts=64,
    max_steps=120,
    sink=True,
    needs_contact=False,
    slack=0.06,
)

TWINS: Mapping[str, Twin] = {twin.task.name: twin for twin in (_CARROT, _SPOON, _CUBES, _EGGPLANT)}
"""Twins by task name, in SimplerEnv's order of difficulty for this robot's table, then the sink."""

REMOTE_TASKS = (
    "google_robot_pick_coke_can",
    "google_robot_pick_horizontal_coke_can",
    "google_robot_pick_vertical_coke_can",
    "google_robot_pick_standing_coke_can",
    "google_robot_pick_object",
    "google_robot_move_near",
    "google_robot_open_drawer",
    "google_robot_open_top_drawer",
    "google_robot_open_middle_drawer",
    "google_robot_open_bottom_drawer",
    "google_robot_close_drawer",
    "google_robot_close_top_drawer",
    "google_robot_close_middle_drawer",
    "google_robot_close_bottom_drawer",
    "google_robot_place_in_closed_drawer",
    "google_robot_place_apple_in_closed_top_drawer",
)
"""SimplerEnv's other tasks: ManiSkill 3 has no twin of them, so they are no tasks of this one."""


def suites() -> Mapping[str, tuple[Task, ...]]:
    """`widowx` (all four), and its two halves by scene: `table` (three) and `sink` (one)."""
    every = tuple(twin.task for twin in TWINS.values())
    return {
        "widowx": every,
        "table": tuple(task for task in every if "table" in task.tags),
        "sink": tuple(task for task in every if "sink" in task.tags),
    }
