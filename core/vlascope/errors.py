"""Every error vlascope raises on purpose; each is also a builtin that callers already catch."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AlreadyThere",
    "CapabilityMissing",
    "ChecksumMismatch",
    "CorruptFile",
    "DiskFull",
    "EditMisfired",
    "EditUnavailable",
    "EnvironmentFailed",
    "FileMissing",
    "IncompatibleError",
    "InvalidName",
    "MisalignedActivations",
    "NoRenderer",
    "RunLocked",
    "ServerLost",
    "StudyFileError",
    "UnknownName",
    "UnusableActivations",
    "VlascopeError",
    "unknown_name",
]


class VlascopeError(Exception):
    """The root of vlascope's own errors."""


class UnknownName(VlascopeError, KeyError):
    """A name that nothing goes by; the message lists near matches."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidName(VlascopeError, ValueError):
    """Text that does not parse as the kind of name it should be."""


class IncompatibleError(VlascopeError, ValueError):
    """A policy and a benchmark whose numbers do not mean the same thing."""


class CapabilityMissing(VlascopeError, NotImplementedError):
    """An optional capability that this adapter or benchmark does not declare."""


class EditMisfired(VlascopeError, RuntimeError):
    """An intervention that fired never, or another number of times than its points declare."""


class EditUnavailable(VlascopeError, LookupError):
    """An edit that an analysis was to find and did not."""


class MisalignedActivations(VlascopeError, ValueError):
    """Activations that do not line up by coordinate or by shape with where they should go."""


class UnusableActivations(VlascopeError, ValueError):
    """Activations that nothing can be learned from: NaN, infinite, constant or none at all."""


class CorruptFile(VlascopeError, ValueError):
    """A file that is truncated, foreign or of another schema version."""


class ChecksumMismatch(CorruptFile):
    """A file whose content is not what its manifest says."""


class DiskFull(VlascopeError, OSError):
    """No space left; what was finished before is intact and a rerun goes on from there."""


class EnvironmentFailed(VlascopeError, RuntimeError):
    """A benchmark that cannot be built, or whose environments fail again and again."""


class FileMissing(VlascopeError, FileNotFoundError):
    """A run, store or checkpoint that is not where it was said to be."""


class NoRenderer(VlascopeError, RuntimeError):
    """No headless OpenGL could be started; the message names the system package to install."""


class AlreadyThere(VlascopeError, FileExistsError):
    """A folder to be written that holds something."""


class RunLocked(VlascopeError, RuntimeError):
    """Another process is writing this directory."""


class ServerLost(VlascopeError, ConnectionError):
    """A policy server that cannot be reached, or that went away in the middle."""


class StudyFileError(VlascopeError, ValueError):
    """A study file that does not validate; the message points at the line."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Build the error for `name`, which is no `kind`, listing what is close or else what exists."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        hint = "did you mean " + " or ".join(repr(c) for c in close) + "?"
    elif names:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        hint = f"there is: {shown}"
    else:
        hint = f"no {kind} is registered"
    return UnknownName(f"no {kind} is named {name!r}; {hint}")
