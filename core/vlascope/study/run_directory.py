"""What a study leaves on disk: what it was, how each arm ended, and its episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlascope.errors import CorruptFile, FileMissing, StudyFileError
from vlascope.rollout.ledger import EPISODES, read_episodes
from vlascope.rollout.versions import own_versions
from vlascope.store.durable import write_atomically
from vlascope.study.played import Episodes, Played
from vlascope.study.schema import Study
from vlascope.study.stopping import Stopped

__all__ = [
    "ArmOutcome",
    "RunManifest",
    "changes",
    "claim",
    "keep_outcome",
    "read_manifest",
    "read_run",
]

MANIFEST = "study.json"
OUTCOMES = "outcomes.json"
SCHEMA = "vlascope.study/1"
WITHOUT_EFFECT = frozenset(
    {
        "title",
        "about",
        "workers",
        "envs_per_worker",
        "executor",
        "stop",
        "groups",
        "findings",
        "report",
        "recipes",
        "analyses",
    }
)
"""Parts of a study that no episode depends on: they may change between runs."""


class RunManifest(BaseModel):
    """The resolved study of a run directory, and the versions it began with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["vlascope.study/1"] = "vlascope.study/1"
    study: Study
    versions: dict[str, str]


class ArmOutcome(BaseModel):
    """How an arm ended for a policy.

    Attributes:
        status: `ok`; `failed` with the error; `skipped` because an arm or analysis it reads
            from failed, or found nothing; `not_applicable` where a policy lacks its hook points.
        error: why.
        hook_points: by edit, the points that the names it was written with stood for.
        left_out: why an identity edit does without a place, by the name it was written with.
        stopped: why it ended before all of its seeds were played, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["ok", "failed", "skipped", "not_applicable"]
    error: str | None = None
    hook_points: list[list[str]] = Field(default_factory=list)
    left_out: dict[str, str] = Field(default_factory=dict)
    stopped: Stopped | None = None


def claim(run_dir: Path, study: Study) -> None:
    """Make a directory this study's, or check that it already is.

    Raises:
        StudyFileError: it belongs to a study whose episodes would differ.
    """
    refuse_another(run_dir, study)
    manifest = RunManifest(study=study, versions=own_versions())
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir / MANIFEST, manifest.model_dump_json(indent=1).encode())


def refuse_another(run_dir: Path, study: Study) -> None:
    """Check that a directory is this study's, or nobody's yet.

    Raises:
        StudyFileError: it belongs to a study whose episodes would differ; says what changed and
            how to proceed.
    """
    if not (run_dir / MANIFEST).exists():
        return
    before = read_manifest(run_dir)
    changed = [*changes(_essence(before.study), _essence(study))]
    changed += changes(before.versions, own_versions())
    if changed:
        shown = "\n  ".join(changed[:12]) + ("\n  ..." if len(changed) > 12 else "")
        raise StudyFileError(
            f"{run_dir} holds episodes of another version of this study:\n  {shown}\n"
            "run into a new directory (--out), or undo the change, or delete the directory"
        )


def read_manifest(run_dir: Path) -> RunManifest:
    """What was run there.

    Raises:
        FileMissing: no study was.
        CorruptFile: the file is of another kind or version.
    """
    path = run_dir / MANIFEST
    if not path.exists():
        raise FileMissing(f"{run_dir} holds no {MANIFEST}: no study was run there")
    try:
        return RunManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise CorruptFile(
            f"{path} is no {SCHEMA} file ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            "use the vlascope version that wrote it, or run the study into a new directory"
        ) from error


def read_run(run_dir: Path) -> tuple[RunManifest, Episodes, dict[str, dict[str, ArmOutcome]]]:
    """The study, its episodes over all shards, and by policy how each arm ended."""
    manifest = read_manifest(run_dir)
    played = [
        (policy, Played(record, folder))
        for policy in manifest.study.policies
        for folder in _folders(run_dir, policy)
        for record in read_episodes(folder)
    ]
    outcomes: dict[str, dict[str, ArmOutcome]] = {p: {} for p in manifest.study.policies}
    for part in (run_dir, *sorted(run_dir.glob("shards/*"))):
        for policy, arms in _read_outcomes(part).items():
            for arm, outcome in arms.items():
                if outcome.status != "ok" or arm not in outcomes[policy]:
                    outcomes[policy][arm] = outcome
    return manifest, Episodes(played), outcomes


def keep_outcome(part: Path, policy: str, arm: str, outcome: ArmOutcome) -> None:
    """Write down how an arm ended, in the run directory or in a shard of it."""
    known = _read_outcomes(part)
    known.setdefault(policy, {})[arm] = outcome
    plain = {p: {a: o.model_dump() for a, o in arms.items()} for p, arms in known.items()}
    part.mkdir(parents=True, exist_ok=True)
    write_atomically(part / OUTCOMES, json.dumps(plain, indent=1).encode())


def _folders(run_dir: Path, policy: str) -> Iterator[Path]:
    for folder in (run_dir / policy, *sorted(run_dir.glob(f"shards/*/{policy}"))):
        if (folder / EPISODES).exists():
            yield folder


def _read_outcomes(part: Path) -> dict[str, dict[str, ArmOutcome]]:
    path = part / OUTCOMES
    if not path.exists():
        return {}
    plain = json.loads(path.read_text("utf-8"))
    return {
        policy: {arm: ArmOutcome.model_validate(o) for arm, o in arms.items()}
        for policy, arms in plain.items()
    }


def _essence(study: Study) -> dict[str, Any]:
    plain = study.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
    for arm in plain["arms"].values():
        arm.pop("about", None)
        arm.pop("controls", None)
    return plain | {"automatic controls": _automatic(study)}


def _automatic(study: Study) -> dict[str, list[str]]:
    return {
        name: [role for role, control in arm.controls.by_role.items() if control == "auto"]
        for name, arm in study.arms.items()
        if arm.controls
    }


def changes(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """One line per part that differs: `seeds: [0, 1] -> [0, 1, 2]`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            if key not in before:
                yield f"{at}{key}: added"
            elif key not in after:
                yield f"{at}{key}: removed"
            else:
                yield from changes(before[key], after[key], f"{at}{key}.")
    elif before != after:
        yield f"{at.removesuffix('.')}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
