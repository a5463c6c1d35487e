"""A scripted expert that knows where everything is: it picks, places, pulls and turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vlascope.errors import CapabilityMissing
from vlascope.types import FloatArray
from vlascope_benchmarks.libero.hand import ACROSS, CLOSE, DOWN, FORWARD, OPEN, Hand

if TYPE_CHECKING:
    from vlascope_benchmarks.libero.simulator import Simulator
    from vlascope_benchmarks.libero.specs import Control

__all__ = ["Expert", "expert_for"]

Float64 = npt.NDArray[np.float64]
Actions = Iterator[FloatArray]

_RIMS = {
    "akita_black_bowl": (0.055, 0.035),
    "white_bowl": (0.055, 0.035),
    "red_bowl": (0.055, 0.035),
    "plate": (0.06, 0.008),
}
"""Things held by their rim: its radius and height above the thing's own point, in metres."""

_TALL = ("milk", "orange_juice", "salad_dressing", "ketchup", "bbq_sauce", "wine_bottle")
_TALL_GRASP = 0.03
_ABOVE = np.array([0.0, 0.0, 0.12])
_LIFT = np.array([0.0, 0.0, 0.2])
_OPENED = 0.2


def expert_for(simulator: Simulator, control: Control) -> Expert:
    """The expert for the task that the simulator plays.

    Raises:
        CapabilityMissing: the task asks for something it cannot do, or control is absolute.
    """
    if control != "delta":
        raise CapabilityMissing("the scripted expert of LIBERO moves by steps: control='delta'")
    unknown = [c for c in simulator.task.goal if c[0] not in ("on", "in", "open", "turnon")]
    if unknown:
        said = ", ".join(" ".join(condition) for condition in unknown)
        raise CapabilityMissing(f"the scripted expert of LIBERO does not know how to: {said}")
    return Expert(simulator)


class Expert:
    """One episode's plan; called once a step, it gives the next action, float32 (7,)."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._hand = Hand(simulator)
        self._plan = self._everything()

    def __call__(self) -> FloatArray:
        """The action for the present state."""
        return next(self._plan)

    def _everything(self) -> Actions:
        """Each condition of the goal in turn, again and again until the episode ends."""
        while True:
            for condition in sorted(self._simulator.task.goal, key=_order):
                yield from self._fulfil(condition)
            yield from self._hand.wait(5, OPEN)

    def _fulfil(self, condition: tuple[str, ...]) -> Actions:
        kind, thing, *place = condition
        if kind == "open":
            yield from self._pull_open(thing)
        elif kind == "turnon":
            yield from self._turn_on(thing)
        else:
            if self._is_shut(place[0]):
                yield from self._pull_open(place[0])
            yield from self._pick_and_place(thing, place[0])

    def _pick_and_place(self, thing: str, place: str) -> Actions:
        """Grasp, lift and put down; where the grasp slips, again at another place of the rim."""
        kind = thing.rsplit("_", 1)[0]
        offset: Float64 = np.zeros(3)
        for side in self._sides(thing, place):
            offset = _grasp(kind, side)
            self._hand.face(ACROSS if side[0] else DOWN)
            yield from self._grasp(thing, offset)
            if self._holds(thing):
                break
            yield from self._hand.wait(3, OPEN)
        drop = np.array([0, 0, 0.13 if "basket" in place else 0.09])
        aside = np.array([*offset[:2], 0]) if kind in _RIMS else np.zeros(3)

        def over() -> Float64:
            return self._at(place) + aside + drop

        yield from self._hand.go(lambda: over() + _ABOVE, CLOSE, near=0.02, patience=90)
        yield from self._hand.go(over, CLOSE, near=0.015, patience=40, gently=True)
        yield from self._hand.wait(13, OPEN)
        yield from self._hand.go(lambda: over() + _ABOVE, OPEN, near=0.03, patience=20)

    def _sides(self, thing: str, place: str) -> list[tuple[float, float]]:
        """Directions from a rim's middle to try: first where no drawer or wall is in the way.

        For a thing held at its middle they say how the hand is turned.
        """
        nearer = self._at(thing)[1] > self._at(place)[1] and not self._in_drawer(place)
        near = -1.0 if nearer else 1.0
        along: list[tuple[float, float]] = [(0.0, near), (0.0, -near)]
        across = [(1.0, 0.0), (-1.0, 0.0)]
        if thing.rsplit("_", 1)[0] not in _RIMS:
            return [along[0], across[0]] * 2
        return [*across, *along] if self._lies_in_drawer(thing) else [*along, *across]

    def _grasp(self, thing: str, offset: Float64) -> Actions:
        hand = self._hand
        yield from hand.go(lambda: self._at(thing) + offset + _ABOVE, OPEN, near=0.015, patience=80)
        yield from hand.turn(OPEN, patience=25)
        yield from hand.go(
            lambda: self._at(thing) + offset, OPEN, near=0.01, patience=40, gently=True
        )
        yield from hand.wait(13, CLOSE)
        top = hand.at() + _LIFT
        yield from hand.go(top, CLOSE, near=0.03, patience=40)

    def _holds(self, thing: str) -> bool:
        """Whether it is in the hand, which has just been lifted."""
        return bool(np.linalg.norm(self._at(thing) - self._hand.at()) < 0.15)

    def _pull_open(self, drawer: str) -> Actions:
        """From the front, fingers above and below the handle, again until the drawer is open."""
        hand = self._hand

        def handle() -> Float64:
            return self._handle(drawer)

        front = np.array([0.0, 0.1, 0.0])
        hand.face(FORWARD)
        yield from hand.go(lambda: handle() + front + _ABOVE, OPEN, near=0.05, patience=80)
        yield from hand.turn(OPEN, patience=40)
        for _ in range(3):
            yield from hand.go(lambda: handle() + front, OPEN, near=0.012, patience=40)
            yield from hand.go(handle, OPEN, near=0.008, patience=25)
            yield from hand.wait(10, CLOSE)
            back = hand.at() + np.array([0.0, _OPENED, 0.0])
            yield from hand.go(back, CLOSE, near=0.03, patience=40)
            yield from hand.wait(4, OPEN)
            if not self._is_shut(drawer):
                break
        clear = hand.at() + np.array([0.0, 0.08, 0.0])
        yield from hand.go(clear, OPEN, near=0.03, patience=30)
        hand.face(DOWN)
        yield from hand.go(clear + _LIFT, OPEN, near=0.05, patience=40)

    def _turn_on(self, stove: str) -> Actions:
        """Push the knob's near end sideways with closed fingers."""
        hand = self._hand
        knob = self._body(f"{stove}_button") + np.array([0.035, 0.0, 0.035])
        before, after = (knob + np.array([0.0, aside, 0.0]) for aside in (-0.05, 0.05))
        yield from hand.go(before + _ABOVE, CLOSE, near=0.02, patience=80)
        yield from hand.go(before, CLOSE, near=0.012, patience=40, gently=True)
        yield from hand.go(after, CLOSE, near=0.012, patience=40)
        yield from hand.go(after + _ABOVE, CLOSE, near=0.03, patience=40)

    def _is_shut(self, place: str) -> bool:
        """Whether the place is in a drawer that is not open."""
        state = self._simulator.env.object_states_dict.get(place)
        return self._in_drawer(place) and not state.is_open()

    def _in_drawer(self, place: str) -> bool:
        """Whether the place moves with a joint."""
        return bool(getattr(self._simulator.env.object_sites_dict.get(place), "joints", None))

    def _lies_in_drawer(self, thing: str) -> bool:
        """Whether the thing is inside a place that moves with a joint."""
        env = self._simulator.env
        states, places = env.object_states_dict, env.object_sites_dict
        inside = (states[p].check_contain(states[thing]) for p in places if self._in_drawer(p))
        return any(inside)

    def _at(self, name: str) -> Float64:
        return np.array(self._simulator.poses()[name].position)

    def _body(self, name: str) -> Float64:
        return np.array(self._simulator.data.body(name).xpos)

    def _handle(self, drawer: str) -> Float64:
        """The middle of a drawer's handle: of its solid parts, the one farthest in front."""
        simulator = self._simulator
        site = simulator.model.site(drawer).id
        body = int(simulator.model.site_bodyid[site])
        parts = np.flatnonzero(
            (simulator.model.geom_bodyid == body) & (simulator.model.geom_contype > 0)
        )
        at = simulator.data.geom_xpos[parts]
        return np.array(at[np.argmax(at[:, 1])])


def _order(condition: tuple[str, ...]) -> int:
    """Drawers and stoves before what is put there."""
    return 0 if condition[0] in ("open", "turnon") else 1


def _grasp(kind: str, side: tuple[float, float]) -> Float64:
    """From a thing's own point to where the fingers close."""
    if kind in _RIMS:
        radius, height = _RIMS[kind]
        return np.array([side[0] * radius, side[1] * radius, height])
    return np.array([0.0, 0.0, _TALL_GRASP if kind in _TALL else 0.0])
