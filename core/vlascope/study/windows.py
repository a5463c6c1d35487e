"""Parts of an episode's time, in environment steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

from vlascope.errors import StudyFileError, unknown_name
from vlascope.study.problems import Problem

__all__ = ["WINDOWS", "window", "window_problems"]

WINDOWS: Final = {
    "first_half": (Fraction(0), Fraction(1, 2)),
    "second_half": (Fraction(1, 2), Fraction(1)),
    **{f"quarter_{k + 1}": (Fraction(k, 4), Fraction(k + 1, 4)) for k in range(4)},
}
"""Fractions of an episode by name."""


def window(name: str, steps: int) -> tuple[int, int]:
    """The half-open range of steps that a window of an episode of `steps` steps stands for.

    Raises:
        UnknownName: no window goes by that name.
        StudyFileError: the episode is too short to have that part.
    """
    if name not in WINDOWS:
        raise unknown_name("window", name, WINDOWS)
    start, stop = (round(steps * part) for part in WINDOWS[name])
    if start >= stop:
        raise StudyFileError(f"window {name!r} of {steps} steps is empty; episodes are longer")
    return start, stop


def window_problems(
    at: tuple[str | int, ...], steps: Any, max_steps: int | None
) -> Iterator[Problem]:
    """What is wrong with a half-open range of steps (its end may be None), given the limit."""
    if not isinstance(steps, Sequence) or len(steps) != 2 or not isinstance(steps[0], int):
        yield Problem(at, f"a window is [FIRST, BEYOND] in environment steps; got {steps!r}")
        return
    first, beyond = steps
    if beyond is not None and beyond <= first:
        yield Problem(at, f"the window [{first}, {beyond}] is empty: the second step is not in it")
    elif max_steps is not None and first >= max_steps:
        yield Problem(
            at,
            f"the window begins at step {first}, past the episode's end: steps run from 0 to "
            f"{max_steps - 1} (max_steps: {max_steps})",
        )
