"""The two tasks of the ALOHA benchmark; no simulator."""

from __future__ import annotations

from collections.abc import Mapping

from vlascope.benchmark import Task

__all__ = ["INSERTION", "TRANSFER_CUBE", "suites"]

TRANSFER_CUBE = Task(
    name="transfer-cube",
    instruction="pick up the cube with the right arm and transfer it to the left arm",
    paraphrases=(
        "hand the cube over from the right gripper to the left gripper",
        "take the red block with the right hand and pass it to the left hand",
        "give the cube to the left arm",
    ),
    scene="cube",
    verb="pick up",
    object="the cube",
    motor="lift it with one arm and hand it to the other",
)

INSERTION = Task(
    name="insertion",
    instruction="insert the peg into the socket",
    paraphrases=(
        "pick up the peg and the socket and push the peg in",
        "plug the red peg into the blue socket",
        "put the peg all the way into the socket",
    ),
    scene="peg-and-socket",
    verb="insert",
    object="the peg",
    motor="lift something with each arm and push the two together",
)


def suites() -> Mapping[str, tuple[Task, ...]]:
    """`all`: both tasks, each on a scene of its own."""
    return {"all": (TRANSFER_CUBE, INSERTION)}
