"""Stopping an arm when its answer is clear: seed after seed, by an interval that allows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout.ledger import EPISODES, read_episodes
from vlascope.statistics.estimates import Estimate
from vlascope.statistics.sequential import betting_interval
from vlascope.study.design import Design
from vlascope.study.groups import Cell, WorkGroup
from vlascope.study.schema import Stop, Study

if TYPE_CHECKING:
    from vlascope.study.executors import Executor

__all__ = ["Stopped", "played_until_clear", "rounds_of", "rule_of"]


class Stopped(BaseModel):
    """An arm that ended before all of its seeds were played.

    Attributes:
        seeds: those that were played, in order.
        episodes: how many that makes; `planned`: how many there would have been.
        answer: what was clear; `interval`: the one that said so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...]
    episodes: int
    planned: int
    answer: str
    interval: Estimate


def rule_of(study: Study, arm: str) -> Stop | None:
    """The first rule that an arm goes by; None where it is played to its end."""
    for rule in study.stop:
        if arm != rule.against and any(fnmatchcase(arm, glob) for glob in rule.arms):
            return rule
    return None


def played_until_clear(
    executor: Executor, design: Design, group: WorkGroup
) -> tuple[list[EpisodeRecord], Stopped | None]:
    """Play an arm, seed after seed where a rule may stop it; also why it stopped, if it did.

    A decision rests on the episodes alone, so that a run that is resumed decides alike.
    """
    rule = None if group.role == "source" else rule_of(design.study, group.arm)
    if rule is None:
        return executor.run(design, group), None
    control = _control(executor, rule)
    records: list[EpisodeRecord] = []
    seeds = list(dict.fromkeys(plan.seed for plan in group.plans))
    for n in _looks(group.plans, seeds, rule.every):
        plans = [plan for plan in group.plans if plan.seed in set(seeds[:n])]
        records = executor.run(design, group, plans)
        if n == len(seeds):
            break
        found = _interval(records, control, seeds[:n])
        answer = _clear(found, rule)
        if answer is not None:
            whole = len(group.plans)
            return records, Stopped(
                seeds=tuple(seeds[:n]),
                episodes=len(plans),
                planned=whole,
                answer=answer,
                interval=found,
            )
    return records, None


def rounds_of(
    values: Mapping[Cell, float | None], seeds: Iterable[int] | None = None
) -> tuple[list[float], int]:
    """One value per seed, the mean over its tasks, and how many episodes these are.

    Seeds in which a task has no value are left out: what remains has the same mean each time.
    """
    found, episodes = [], 0
    for seed in dict.fromkeys(s for _, s in values) if seeds is None else seeds:
        own = [value for (_, s), value in values.items() if s == seed]
        known = [value for value in own if value is not None]
        if own and len(known) == len(own):
            found.append(sum(known) / len(known))
            episodes += len(known)
    return found, episodes


def _looks(plans: Sequence[EpisodePlan], seeds: Sequence[int], every: int) -> list[int]:
    """After how many seeds the interval is looked at: at least `every` episodes apart."""
    per_seed = max(1, len(plans) // len(seeds))
    stride = max(1, -(-every // per_seed))
    return [*range(stride, len(seeds), stride), len(seeds)]


def _control(executor: Executor, rule: Stop) -> dict[Cell, float | None] | None:
    """Success of the arm that the rule compares with, by cell."""
    if rule.against is None:
        return None
    there = (executor.run_dir / EPISODES).exists()
    records = read_episodes(executor.run_dir) if there else []
    return _success(r for r in records if r.plan.arm == rule.against)


def _success(records: Iterable[EpisodeRecord]) -> dict[Cell, float | None]:
    return {
        (r.plan.task, r.plan.seed): None if r.success is None else float(r.success) for r in records
    }


def _interval(
    records: Sequence[EpisodeRecord],
    control: Mapping[Cell, float | None] | None,
    seeds: Sequence[int],
) -> Estimate:
    own = _success(records)
    if control is not None:
        own = {cell: _difference(value, control.get(cell)) for cell, value in own.items()}
    values, _ = rounds_of(own, seeds)
    return betting_interval(values, low=-1.0 if control is not None else 0.0)


def _difference(arm: float | None, control: float | None) -> float | None:
    return None if arm is None or control is None else arm - control


def _clear(found: Estimate, rule: Stop) -> str | None:
    """What is clear by now, in words; None to go on."""
    if found.low is None or found.high is None:
        return None
    shown = f"[{found.low:.2f}, {found.high:.2f}]"
    if rule.width is not None and found.high - found.low <= rule.width:
        return f"the interval {shown} is no wider than {rule.width:g}"
    leaves = rule.decides
    if leaves is not None and not found.low <= leaves <= found.high:
        side = "above" if found.low > leaves else "below"
        return f"the interval {shown} lies {side} {leaves:g}"
    return None
