"""What holds in a LIBERO scene: goals of every task that shares it, grasps and touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlascope_benchmarks.libero.bddl import Goal

__all__ = ["Conditions", "condition_name"]

_WORDS = {"turnon": "turned_on", "turnoff": "turned_off", "close": "closed"}


def condition_name(condition: tuple[str, ...]) -> str:
    """`("on", "bowl_1", "plate_1")` as `bowl_1_on_plate_1`, `("close", "drawer")` as its state."""
    word = _WORDS.get(condition[0], condition[0])
    return "_".join([condition[1], word, *condition[2:]])


class Conditions:
    """Named conditions of one loaded scene.

    Those of tasks that name a place which this task's file lacks are left out.
    """

    def __init__(self, env: Any, goals: Mapping[str, Goal]) -> None:
        self._env = env
        known = env.object_states_dict
        self._goals = {
            task: wanted
            for task, wanted in goals.items()
            if all(name in known for condition in wanted for name in condition[1:])
        }
        every = dict.fromkeys(c for wanted in self._goals.values() for c in wanted)
        self._atoms = {condition: condition_name(condition) for condition in every}
        self._owner = _owners(env)
        self._movable = list(env.objects_dict)
        self._touchable = [*env.objects_dict, *(n for n in env.fixtures_dict if n in known)]

    def now(self) -> Mapping[str, bool]:
        """Every condition by name."""
        holds = {atom: bool(self._env._eval_predicate(list(atom))) for atom in self._atoms}
        found = {task: all(holds[c] for c in goal) for task, goal in self._goals.items()}
        found |= {name: holds[atom] for atom, name in self._atoms.items()}
        touched, grasped = self._in_hand()
        found |= {f"{name}_touched": name in touched for name in self._touchable}
        return found | {f"{name}_grasped": name in grasped for name in self._movable}

    def _in_hand(self) -> tuple[set[str], set[str]]:
        """Names of what the gripper touches, and of what both its fingers' pads touch."""
        data = self._env.sim.data._data
        fingers: dict[str, set[str]] = {}
        for pair in data.contact.geom[: data.ncon]:
            owners = [self._owner.get(int(geom), "") for geom in pair]
            for one, other in (owners, owners[::-1]):
                if one.startswith("gripper") and other and not other.startswith("gripper"):
                    fingers.setdefault(other, set()).add(one)
        pads = {"gripper:left_fingerpad", "gripper:right_fingerpad"}
        return set(fingers), {name for name, by in fingers.items() if pads <= by}


def _owners(env: Any) -> Mapping[int, str]:
    """Whose each geom is: an object's or fixture's by name, `gripper` or `gripper:<pad>`."""
    model = env.sim.model
    found = dict(_geoms_of_things(env))
    gripper = env.robots[0].gripper
    found |= {model.geom_name2id(name): "gripper" for name in gripper.contact_geoms}
    for pad in ("left_fingerpad", "right_fingerpad"):
        for name in gripper.important_geoms[pad]:
            found[model.geom_name2id(name)] = f"gripper:{pad}"
    return found


def _geoms_of_things(env: Any) -> Iterator[tuple[int, str]]:
    model = env.sim.model._model
    roots = {int(body): name for name, body in env.obj_body_id.items()}
    for geom, body in enumerate(np.asarray(model.geom_bodyid)):
        at = int(body)
        while at > 0 and at not in roots:
            at = int(model.body_parentid[at])
        if at in roots:
            yield geom, roots[at]
