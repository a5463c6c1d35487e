"""What a check is, how one is run, and what comes of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NoReturn

from vlascope.errors import unknown_name

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "CheckSkipped",
    "fail",
    "run_check",
    "run_checks",
    "skip",
]

Status = Literal["pass", "fail", "xfail", "xpass", "skip"]


class CheckFailed(AssertionError):
    """A promise that is not kept; the message says what to do."""


class CheckSkipped(Exception):
    """A promise that does not apply to this subject."""


def fail(message: str) -> NoReturn:
    """Report a broken promise."""
    raise CheckFailed(message)


def skip(message: str) -> NoReturn:
    """Report that the promise does not apply."""
    raise CheckSkipped(message)


@dataclass(frozen=True)
class Check:
    """One promise: `run(subject)` raises where it is not kept. Its code is stable."""

    run: Callable[[Any], None]

    @property
    def code(self) -> str:
        """The promise's name."""
        return self.run.__name__

    @property
    def promise(self) -> str:
        """What is promised, in one line."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0]

    def __call__(self, subject: Any) -> None:
        """Raise where `subject` does not keep the promise."""
        self.run(subject)


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        code: the check's stable name.
        status: `pass`, `fail`, `skip` (does not apply), `xfail` (fails as the author declared),
            `xpass` (declared to fail, and passes: the declaration is out of date).
        message: why, and what to do; empty where all is well.
        promise: what the check holds the author to.
        seconds: how long it took.
    """

    code: str
    status: Status
    message: str
    promise: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing needs doing: passed, skipped, or failed as expected."""
        return self.status in ("pass", "skip", "xfail")


def run_check(check: Check, subject: Any, expected_failure: str | None = None) -> CheckResult:
    """Run one check, whatever it raises."""
    begun = time.perf_counter()
    status, message = _outcome(check, subject)
    if expected_failure is not None and status == "fail":
        status, message = "xfail", f"{expected_failure} ({message})"
    elif expected_failure is not None and status == "pass":
        status = "xpass"
        message = (
            f"declared to fail ({expected_failure}) and passes: remove {check.code!r} from "
            "expected_failures"
        )
    return CheckResult(check.code, status, message, check.promise, time.perf_counter() - begun)


def run_checks(
    checks: Sequence[Check],
    subject: Any,
    *,
    expected_failures: Mapping[str, str],
    only: Sequence[str] = (),
) -> Iterator[CheckResult]:
    """Run every check (or those whose codes a glob in `only` names), never stopping early.

    Raises:
        UnknownName: a glob, or an expected failure, names no check.
    """
    codes = [check.code for check in checks]
    for pattern in (*only, *expected_failures):
        if not any(fnmatchcase(code, pattern) for code in codes):
            raise unknown_name("check", pattern, codes)
    for check in checks:
        if not only or any(fnmatchcase(check.code, pattern) for pattern in only):
            yield run_check(check, subject, expected_failures.get(check.code))


def _outcome(check: Check, subject: Any) -> tuple[Status, str]:
    try:
        check(subject)
    except CheckSkipped as reason:
        return "skip", str(reason)
    except CheckFailed as error:
        return "fail", str(error)
    except Exception as error:
        return "fail", f"{type(error).__name__}: {error}"
    return "pass", ""
