"""Counterfactual instructions, generated from what a benchmark says of its tasks.

The kinds are those of arXiv 2603.19233, each made from a task's metadata rather than by hand, so
that every task of every benchmark that has the metadata gets them.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal, get_args

from vlascope.benchmark import Task
from vlascope.errors import StudyFileError, unknown_name

__all__ = ["VARIANTS", "Variant", "can_vary", "instruction_variant"]

Variant = Literal[
    "null",
    "nonsense",
    "wrong_task",
    "wrong_object",
    "negation",
    "opposite",
    "paraphrase",
    "motor_only",
]

VARIANTS: Final[Mapping[Variant, str]] = {
    "null": "no instruction",
    "nonsense": "as many words, none of which means anything",
    "wrong_task": "another task's instruction, of the same scene where there is one",
    "wrong_object": "the same done to another task's object",
    "negation": "what not to do",
    "opposite": "the task that undoes this one",
    "paraphrase": "the same in other words",
    "motor_only": "the movement, without the object",
}
"""What each kind says to the policy."""

_ONSETS, _VOWELS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v", "z"), "aeiou"


def instruction_variant(
    task: Task,
    all_tasks: Iterable[Task],
    kind: Variant,
    seed: int = 0,
    *,
    k: int = 1,
    preferred: Collection[str] = (),
) -> str:
    """What the policy is told instead of `task.instruction`; the same for the same arguments.

    Args:
        task: whose instruction is varied.
        all_tasks: what other tasks' instructions and objects are taken from.
        kind: one of `VARIANTS`.
        seed: of the choice among several tasks, and of the nonsense words.
        k: which paraphrase, from 1.
        preferred: names of tasks to choose from first (those the policy is known to play).

    Raises:
        UnknownName: there is no such kind.
        StudyFileError: the task's metadata do not allow it; names the task and what is missing.
    """
    if kind not in get_args(Variant):
        raise unknown_name("instruction variant", kind, VARIANTS)
    others = [t for t in all_tasks if t.name != task.name]
    if kind == "paraphrase":
        text = _paraphrase(task, k)
    elif kind in ("wrong_task", "wrong_object"):
        make = _wrong_task if kind == "wrong_task" else _wrong_object
        text = make(task, others, f"{seed}/{kind}/{task.name}", preferred)
    elif kind == "nonsense":
        text = _nonsense(task, others, f"{seed}/nonsense/{task.name}")
    else:
        text = _SIMPLE[kind](task, others)
    if text == task.instruction:
        raise _impossible(task, kind, "it would be the task's own instruction")
    return text


def can_vary(
    task: Task,
    all_tasks: Iterable[Task],
    kind: Variant,
    *,
    k: int = 1,
) -> str | None:
    """Why a variant cannot be made for a task, or None where it can."""
    try:
        instruction_variant(task, all_tasks, kind, k=k)
    except StudyFileError as error:
        return str(error)
    return None


def _null(_task: Task, _others: list[Task]) -> str:
    return ""


def _negation(task: Task, _others: list[Task]) -> str:
    return f"do not {task.instruction}"


def _motor_only(task: Task, _others: list[Task]) -> str:
    if not task.motor:
        raise _impossible(task, "motor_only", "give it `motor`: the movement, naming no object")
    return task.motor


def _opposite(task: Task, others: list[Task]) -> str:
    if not task.opposite:
        raise _impossible(task, "opposite", "it names no task that undoes it as `opposite`")
    by_name = {t.name: t for t in others}
    if task.opposite not in by_name:
        raise unknown_name(f"opposite of {task.name}", task.opposite, by_name)
    return by_name[task.opposite].instruction


_SIMPLE: Final[Mapping[str, Callable[[Task, list[Task]], str]]] = {
    "null": _null,
    "negation": _negation,
    "motor_only": _motor_only,
    "opposite": _opposite,
}


def _paraphrase(task: Task, k: int) -> str:
    if not 1 <= k <= len(task.paraphrases):
        raise StudyFileError(f"{task.name} has {len(task.paraphrases)} paraphrases, not {k}")
    return task.paraphrases[k - 1]


def _wrong_task(task: Task, others: list[Task], draw: str, preferred: Collection[str]) -> str:
    """An instruction that means another task: none that is also a way to say this one."""
    own = {task.instruction, *task.paraphrases}
    different = [t for t in others if own.isdisjoint({t.instruction, *t.paraphrases})]
    if not different:
        raise _impossible(task, "wrong_task", "no other task says anything else")
    return _nearest(task, different, draw, preferred).instruction


def _wrong_object(task: Task, others: list[Task], draw: str, preferred: Collection[str]) -> str:
    if not task.object or task.object not in task.instruction:
        raise _impossible(
            task, "wrong_object", "give it `object`, word for word as in the instruction"
        )
    different = [t for t in others if t.object and t.object != task.object]
    if not different:
        raise _impossible(task, "wrong_object", "no other task names another object")
    other = _nearest(task, different, draw, preferred).object
    return task.instruction.replace(task.object, other)


def _nearest(task: Task, others: list[Task], draw: str, preferred: Collection[str]) -> Task:
    """One of the same scene where there is one; there and elsewhere rather a preferred one."""
    for same_scene in (True, False):
        for wanted in (True, False):
            found = sorted(
                (
                    t
                    for t in others
                    if (bool(task.scene) and t.scene == task.scene) == same_scene
                    and (t.name in preferred) == wanted
                ),
                key=lambda t: t.name,
            )
            if found:
                return found[_drawn(draw) % len(found)]
    raise AssertionError("the caller gave at least one task")


def _nonsense(task: Task, others: list[Task], draw: str) -> str:
    """As many made-up words of as many letters; none occurs in any task's texts."""
    rng = random.Random(_drawn(draw))
    texts = [w for t in (task, *others) for w in (t.instruction, *t.paraphrases)]
    known = {word for text in texts for word in _words(text)}
    return " ".join(_pseudoword(rng, len(word), known) for word in _words(task.instruction))


def _pseudoword(rng: random.Random, letters: int, known: Collection[str]) -> str:
    """Consonants and vowels in turn; two letters at least."""
    length = max(2, letters)
    while True:
        pairs = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(length))
        word = "".join(pairs)[:length]
        if word not in known:
            return word
        length += 1


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _drawn(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _impossible(task: Task, kind: str, why: str) -> StudyFileError:
    return StudyFileError(f"task {task.name!r} has no {kind!r} instruction: {why}")
