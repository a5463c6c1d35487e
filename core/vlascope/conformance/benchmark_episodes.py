"""Promises about tasks, seeds, steps and success."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from vlascope.benchmark import Task
from vlascope.conformance.benchmark_subject import BenchmarkSubject, same_observation, same_poses
from vlascope.conformance.results import fail
from vlascope.errors import CapabilityMissing

__all__ = ["CHECKS"]

_SEEDS = (0, 1, 2)


def tasks_named_uniquely(subject: BenchmarkSubject) -> None:
    """A name means one task in every suite, and every task says what to do."""
    seen: dict[str, Task] = {}
    for suite, tasks in subject.cls.suites().items():
        if not tasks:
            fail(f"suite {suite!r} is empty")
        if len({t.name for t in tasks}) != len(tasks):
            fail(f"suite {suite!r} has two tasks of one name: make names unique")
        for task in tasks:
            if seen.setdefault(task.name, task) != task:
                fail(f"two suites mean different tasks by {task.name!r}: make names unique")
            if not task.instruction:
                fail(f"task {task.name!r} has no instruction: write what a person would say")


def benchmark_info_is_json(subject: BenchmarkSubject) -> None:
    """`info` is plain data under the class's name."""
    try:
        json.dumps(asdict(subject.env.info))
    except TypeError as error:
        fail(f"info does not turn into JSON ({error}): use str, numbers, tuples and mappings")
    if subject.env.info.name != subject.cls.name:
        fail(f"info.name is {subject.env.info.name!r}, the class is named {subject.cls.name!r}")


def reset_is_seeded(subject: BenchmarkSubject) -> None:
    """(task, seed) decides the initial state, whatever was played before, in any process."""
    for task in subject.sample:
        first = subject.env.reset(task.name, seed=1)
        again = subject.env.reset(task.name, seed=1)
        if not same_observation(first, again):
            fail(f"{task.name}: two resets with one seed differ: {_SEED_ADVICE}")
        for other in subject.sample:
            subject.play(subject.env, other.name, seed=7)
        if not same_observation(first, subject.env.reset(task.name, seed=1)):
            fail(f"{task.name}: a reset depends on the episodes before it: {_SEED_ADVICE}")
        if not same_observation(first, subject.new_env().reset(task.name, seed=1)):
            fail(f"{task.name}: a new environment resets differently: {_SEED_ADVICE}")
        if all(same_observation(first, subject.env.reset(task.name, seed=s)) for s in (2, 3, 4)):
            fail(
                f"{task.name}: seeds 1 to 4 give one state: let `seed` decide the state in start()"
            )


def steps_are_seeded(subject: BenchmarkSubject) -> None:
    """Equal actions from equal seeds lead to equal states, results and pictures."""
    for task in subject.sample:
        runs = []
        for _ in range(2):
            results = subject.play(subject.env, task.name, seed=1)
            runs.append((results, dict(subject.env.scene_state()), subject.env.observe()))
            subject.play(subject.env, subject.sample[-1].name, seed=7)
        verdicts = [[(r.success, dict(r.predicates)) for r in results] for results, *_ in runs]
        same = verdicts[0] == verdicts[1] and same_poses(runs[0][1], runs[1][1])
        if not same or not same_observation(runs[0][2], runs[1][2]):
            fail(f"{task.name}: equal actions led to another state: {_SEED_ADVICE}")


def steps_say_what_they_should(subject: BenchmarkSubject) -> None:
    """Results hold plain booleans, and an episode is truncated after `max_steps`."""
    env, task = subject.env, subject.sample[0]
    env.reset(task.name, seed=0)
    results = subject.play(env, task.name, steps=env.info.max_steps)
    for result in results:
        flags = (result.success, result.terminated, result.truncated, *result.predicates.values())
        if not all(type(flag) is bool for flag in flags):
            fail(f"{task.name}: a StepResult holds {flags}: turn them into bool")
    if len({frozenset(r.predicates) for r in results}) > 1:
        fail(f"{task.name}: predicates change their names: give every predicate at every step")
    ended = [r.truncated or r.terminated for r in results]
    if not ended[-1]:
        fail(f"{task.name}: still running after info.max_steps = {env.info.max_steps}: truncate")
    if any(r.truncated for r in results[:-1]):
        fail(f"{task.name}: truncated before info.max_steps = {env.info.max_steps}")


def success_reachable(subject: BenchmarkSubject) -> None:
    """The scripted expert succeeds within `max_steps`, and nothing succeeds at the start."""
    for task in subject.sample:
        try:
            won = [_expert_succeeds(subject, task.name, seed) for seed in _SEEDS]
        except CapabilityMissing as error:
            fail(f"{error}: write expert(), or declare expected_failures with the reason")
        if not any(won):
            fail(
                f"{task.name}: the expert succeeds with none of the seeds {_SEEDS} in "
                f"{subject.env.info.max_steps} steps: check success, expert() and max_steps"
            )


def scene_state_present(subject: BenchmarkSubject) -> None:
    """`scene_state` gives finite positions in metres, the end effector's among them; it moves."""
    for task in subject.sample:
        subject.env.reset(task.name, seed=0)
        before = dict(subject.env.scene_state())
        if "end_effector" not in before:
            fail(f"{task.name}: scene_state() has no 'end_effector', only {sorted(before)}")
        for name, pose in before.items():
            fine = pose.position.shape == (3,) and pose.quaternion.shape == (4,)
            if not fine or not np.isfinite([*pose.position, *pose.quaternion]).all():
                fail(f"{task.name}: the pose of {name!r} is not 3 + 4 finite numbers: {pose}")
        for action in subject.actions(5):
            subject.env.step(action)
        if same_poses(before, dict(subject.env.scene_state())):
            fail(f"{task.name}: scene_state() stays the same while the robot moves: read it anew")


def proprioception_is_what_is_sensed(subject: BenchmarkSubject) -> None:
    """`proprioception`, where it is given, equals the state streams of `sense` at every step."""
    for task in subject.sample:
        seen = subject.env.reset(task.name, seed=0)
        for action in subject.actions(5):
            felt = subject.env.proprioception()
            if felt is None:
                return
            same = felt.keys() == seen.state.keys() and all(
                np.array_equal(felt[name], seen.state[name]) for name in felt
            )
            if not same:
                fail(
                    f"{task.name}: proprioception() says {dict(felt)}, sense() saw "
                    f"{dict(seen.state)}: return the same numbers from both"
                )
            subject.env.step(action)
            seen = subject.env.sense()


def close_twice(subject: BenchmarkSubject) -> None:
    """Closing twice, or before anything began, is fine."""
    fresh = subject.new_env()
    fresh.close()
    used = subject.new_env()
    used.reset(subject.sample[0].name, seed=0)
    try:
        used.close()
        used.close()
    except Exception as error:
        fail(
            f"closing twice raised {type(error).__name__}: {error}; let close() forget what it "
            "freed"
        )


def _expert_succeeds(subject: BenchmarkSubject, task: str, seed: int) -> bool:
    subject.env.reset(task, seed=seed)
    for step in range(subject.env.info.max_steps):
        result = subject.env.step(subject.env.expert())
        if result.success and step == 0:
            fail(f"{task}: succeeds on the first step with seed {seed}: check success")
        if result.success:
            return True
    return False


_SEED_ADVICE = (
    "draw all chance from a generator made from `seed` in start(), and restore every bit of state"
)

CHECKS = (
    tasks_named_uniquely,
    benchmark_info_is_json,
    reset_is_seeded,
    steps_are_seeded,
    steps_say_what_they_should,
    success_reachable,
    scene_state_present,
    proprioception_is_what_is_sensed,
    close_twice,
)
