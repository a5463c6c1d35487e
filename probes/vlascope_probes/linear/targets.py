"""What a probe may be asked to read off an activation, as a number or a label per state.

| target              | what                                                         | kind    |
|---------------------|--------------------------------------------------------------|---------|
| `action.<i>`        | the next executed action's dimension i (or its name)         | numbers |
| `gripper`           | the next action's gripper dimension, where one is named so   | numbers |
| `hand.<x,y,z>`      | end-effector position, m                                     | numbers |
| `velocity.<x,y,z>`  | its displacement over the next step, m                       | numbers |
| `object.<n>.<x,y,z>` | an object's position, m                                      | numbers |
| `state.<stream>.<i>` | what the policy is told of the robot                         | numbers |
| `steps_to_go`       | steps until the first success; failures have none            | numbers |
| `task`              | the task's name                                              | labels  |
| `instruction`       | what the policy was told                                     | labels  |
| `phase`             | quarter of the episode, 0..3                                 | labels  |
| `predicate.<name>`  | whether a condition holds                                    | labels  |
| `success`           | the outcome, before it is decided                            | labels  |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlascope.errors import UnusableActivations, unknown_name
from vlascope_probes.evidence import Evidence, Floats
from vlascope_probes.linear.options import USUAL

__all__ = ["Target", "catalogue", "chosen", "present"]

Kind = Literal["regression", "classification"]
Shuffle = Literal["track", "turn"]
_AXES = ("x", "y", "z")
_LEAST = 2
"""Episodes of each outcome that must still be undecided for a moment to say something."""


@dataclass(frozen=True, eq=False)
class Target:
    """One thing to read off.

    Attributes:
        name: as in the table above.
        kind: numbers or labels.
        tracks: by episode, a value per state, (steps + 1,); NaN (or None) where there is none.
        shuffle: how a control task is made of it: `track` gives every episode another one's
            course (for a label of whole episodes: another one's label), `turn` turns each
            episode's course round by a random shift (for functions of time alone).
        about: in words.
    """

    name: str
    kind: Kind
    tracks: Mapping[str, npt.NDArray[np.generic]]
    shuffle: Shuffle
    about: str = ""


def catalogue(
    evidence: Mapping[str, Evidence], action_names: Sequence[str] | None = None
) -> dict[str, Target]:
    """Every target that these episodes offer, by name."""
    found: dict[str, Target] = {}
    for target in (
        *_regressions(evidence, action_names),
        *_classifications(evidence),
    ):
        found[target.name] = target
    return found


def chosen(
    known: Mapping[str, Target], patterns: Sequence[str] | None
) -> tuple[list[Target], dict[str, str]]:
    """The targets that names or globs stand for, and why others of them cannot be probed.

    Without patterns the usual ones; those that cannot be probed are left out.

    Raises:
        UnknownName: a name or glob stands for no target.
        UnusableActivations: a target named outright does not vary.
    """
    usable: dict[str, Target] = {}
    skipped: dict[str, str] = {}
    for pattern in USUAL if patterns is None else patterns:
        names = [name for name in known if fnmatchcase(name, pattern)]
        if not names and patterns is not None:
            raise unknown_name("probe target", pattern, known)
        for name in names:
            reason = _unusable(known[name])
            if reason is None:
                usable[name] = known[name]
            elif pattern == name and patterns is not None:
                raise UnusableActivations(f"probe target {name!r} {reason}")
            else:
                skipped[name] = reason
    return list(usable.values()), skipped


def _unusable(target: Target) -> str | None:
    """Why nothing can be read off, or None."""
    tracks = [t[present(t)] for t in target.tracks.values()]
    if target.kind == "regression":
        values = np.concatenate(tracks).astype(np.float64)
        if len(values) == 0:
            return "has no value in any episode"
        if np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
            return f"does not vary: it is {values[0]:.6g} at every moment of {len(tracks)} episodes"
        return None
    held: dict[object, int] = {}
    for track in tracks:
        for label in set(track.tolist()):
            held[label] = held.get(label, 0) + 1
    if not held:
        return (
            "does not vary: no two values of it are open at any moment (do all episodes end alike?)"
        )
    lasting = [label for label, episodes in held.items() if episodes >= _LEAST]
    if len(held) < 2:
        return f"does not vary: it is {next(iter(held), None)!r} in all {len(tracks)} episodes"
    if len(lasting) < 2:
        return f"has fewer than two labels that occur in {_LEAST} episodes each"
    return None


def present(track: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Where a track has a value."""
    if track.dtype == object:
        return np.array([v is not None for v in track], bool)
    return np.isfinite(track.astype(np.float64))


def _regressions(
    evidence: Mapping[str, Evidence], action_names: Sequence[str] | None
) -> list[Target]:
    tables: dict[str, dict[str, Floats]] = {}

    def put(name: str, episode: str, track: Floats) -> None:
        tables.setdefault(name, {})[episode] = track

    for name, e in evidence.items():
        for i in range(e.actions.shape[1]):
            label = action_names[i] if action_names else str(i)
            track = np.append(e.actions[:, i], np.nan)
            put(f"action.{label}", name, track)
            if "gripper" in label:
                put("gripper", name, track)
        spatial = {"hand": e.hand, "velocity": e.velocity}
        spatial |= {f"object.{thing}": track for thing, track in e.objects.items()}
        for what, positions in spatial.items():
            for i, axis in enumerate(_AXES if positions is not None else ()):
                assert positions is not None
                put(f"{what}.{axis}", name, positions[:, i])
        for stream, values in e.state.items():
            for i in range(values.shape[1]):
                put(f"state.{stream}.{i}", name, values[:, i])
        if e.decided_step is not None:
            to_go = e.decided_step - np.arange(e.steps + 1, dtype=np.float64)
            put("steps_to_go", name, np.where(to_go > 0, to_go, np.nan))
    turned = {"steps_to_go"}
    return [
        Target(name, "regression", tracks, "turn" if name in turned else "track")
        for name, tracks in tables.items()
    ]


def _classifications(evidence: Mapping[str, Evidence]) -> list[Target]:
    def whole(value: Callable[[Evidence], object]) -> dict[str, npt.NDArray[np.generic]]:
        return {n: _filled(e.steps + 1, value(e)) for n, e in evidence.items()}

    found = [
        Target("task", "classification", whole(lambda e: e.record.plan.task), "track"),
        Target("instruction", "classification", whole(lambda e: e.record.instruction), "track"),
        Target(
            "phase",
            "classification",
            {
                n: np.minimum(4 * np.arange(e.steps + 1) // max(e.steps, 1), 3).astype(object)
                for n, e in evidence.items()
            },
            "turn",
        ),
        Target("success", "classification", _outcomes(evidence), "track"),
    ]
    names = dict.fromkeys(p for e in evidence.values() for p in e.predicates)
    for name in names:
        tracks = {
            n: e.predicates[name].astype(object)
            for n, e in evidence.items()
            if name in e.predicates
        }
        found.append(Target(f"predicate.{name}", "classification", tracks, "track"))
    return found


def _filled(length: int, value: object) -> npt.NDArray[np.generic]:
    track = np.empty(length, object)
    track[:] = value
    return track


def _outcomes(evidence: Mapping[str, Evidence]) -> dict[str, npt.NDArray[np.generic]]:
    """The outcome at every moment at which it is open, for both kinds of episode.

    Moments from `decided_step` on are left out, and so are moments so late that fewer than two
    episodes of either outcome are still open: there the clock alone would tell the outcome.
    """
    ends = {n: e.steps if e.decided_step is None else e.decided_step for n, e in evidence.items()}
    horizon = 0
    for outcome in (True, False):
        lasting = sorted(
            (ends[n] for n, e in evidence.items() if e.record.success is outcome), reverse=True
        )
        last = lasting[_LEAST - 1] if len(lasting) >= _LEAST else 0
        horizon = last if outcome else min(horizon, last)
    tracks = {}
    for name, e in evidence.items():
        track = _filled(e.steps + 1, e.record.success)
        closed = np.arange(e.steps + 1) >= min(ends[name], horizon)
        tracks[name] = np.where(closed, np.array(None, object), track)
    return tracks
