"""What the robot did, whatever it was told: prompt x behaviour, and whose path it followed."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from vlascope.report.chapters import of_a_recipe
from vlascope.statistics import Estimate, rate
from vlascope.study.measuring import Measuring
from vlascope.study.metrics import METRICS, behaviour, override_verdict
from vlascope.study.tasks import known_tasks

__all__ = ["NOTHING", "BehaviourMatrix", "Verdicts", "matrices", "verdicts"]

NOTHING = "none of them"


class BehaviourMatrix(BaseModel):
    """How often each goal of a scene was the first to come true, by task.

    Attributes:
        rows: tasks (`task`, or `task <- source` where the arm has a source task).
        columns: the scene's goals, then none of them.
        counts: episodes, rows x columns; `n` per row.
        automatic: whether the arm is a control that was made automatically.
    """

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    scene: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    n: tuple[int, ...]
    automatic: bool = False


class Verdicts(BaseModel):
    """Whose movement an arm's episodes resemble, by three measures.

    Attributes:
        source, destination, ambiguous: episodes by velocity cosine with the study's margin.
        margin: that margin.
        strict: share of episodes whose path is nearer to the source's, without a margin.
        source_goal: share of episodes in which the source task's goal came true.
        own_goal: share in which the task's own did.
    """

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    role: str
    control_of: str
    source: int
    destination: int
    ambiguous: int
    margin: float
    strict: Estimate
    source_goal: Estimate
    own_goal: Estimate


def matrices(measuring: Measuring) -> tuple[BehaviourMatrix, ...]:
    """One per scene that offers several goals and arm, those of recipes left out."""
    known = known_tasks(measuring.design.study.benchmark.name)
    goals: dict[str, list[str]] = {}
    for scene, name in sorted(measuring.episodes.watched):
        if name in known and known[name].scene == scene:
            goals.setdefault(scene, []).append(name)
    found = []
    for policy in measuring.design.study.policies:
        for group in measuring.design.groups:
            for scene, names in goals.items():
                own = not of_a_recipe(group.arm, measuring.design.study.recipes)
                if len(names) > 1 and group.role != "source" and own:
                    found.append(_matrix(measuring, policy, group.arm, scene, names))
    return tuple(m for m in found if m is not None)


def _matrix(
    measuring: Measuring, policy: str, arm: str, scene: str, goals: list[str]
) -> BehaviourMatrix | None:
    known = [t for t in known_tasks(measuring.design.study.benchmark.name) if t in goals]
    counts: dict[str, Counter[str]] = {}
    for episode in measuring.episodes.of(policy, arm):
        if episode.ok and episode.record.scene == scene:
            did = behaviour(episode, known) or NOTHING
            counts.setdefault(episode.record.plan.task, Counter())[did] += 1
    if not counts:
        return None
    rows = [t for t in known if t in counts]
    sources = {cell[0]: ref.task for cell, ref in measuring.design.group(arm).sources.items()}
    columns = (*known, NOTHING)
    return BehaviourMatrix(
        policy=policy,
        arm=arm,
        scene=scene,
        rows=tuple(_row_name(t, sources.get(t)) for t in rows),
        columns=columns,
        counts=tuple(tuple(counts[t][c] for c in columns) for t in rows),
        n=tuple(counts[t].total() for t in rows),
        automatic=measuring.design.group(arm).role == "control",
    )


def _row_name(task: str, source: str | None) -> str:
    return task if source in (None, task) else f"{task} \u2190 {source}"


def verdicts(measuring: Measuring) -> tuple[Verdicts, ...]:
    """Every arm with a source from another task, each followed by its controls."""
    found = []
    for policy in measuring.design.study.policies:
        for group in measuring.design.groups:
            crossed = any(ref.task != cell[0] for cell, ref in group.sources.items())
            if group.role != "arm" or not crossed:
                continue
            found.append(_verdicts(measuring, policy, group.arm, "arm", group.arm))
            found += [
                _verdicts(measuring, policy, control, role, group.arm)
                for role, control in measuring.design.controls(group.arm).items()
            ]
    return tuple(v for v in found if v.strict.n)


def _verdicts(measuring: Measuring, policy: str, arm: str, role: str, of: str) -> Verdicts:
    cells = [
        c
        for c, ref in measuring.design.group(of).sources.items()
        if c in {(p.task, p.seed) for p in measuring.design.group(arm).plans} and ref.task != c[0]
    ]
    trios = [t for c in cells if (t := measuring.trio(policy, arm, c, like=of)) is not None]
    counted = Counter(override_verdict(t) for t in trios)
    shares = {
        m: rate([METRICS[m].measure(t) for t in trios])
        for m in ("override", "source_goal", "own_goal")
    }
    return Verdicts(
        policy=policy,
        arm=arm,
        role=role,
        control_of=of,
        source=counted["source"],
        destination=counted["destination"],
        ambiguous=counted["ambiguous"],
        margin=measuring.design.study.report.override_margin,
        strict=shares["override"],
        source_goal=shares["source_goal"],
        own_goal=shares["own_goal"],
    )
