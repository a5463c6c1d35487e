"""What makes an episode the same episode: the content that its digest covers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlascope import __version__
from vlascope.adapter import VLAAdapter
from vlascope.interventions import Intervention
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan, PolicyIdentity
from vlascope.rollout.sight import Perturb, is_data
from vlascope.rollout.spec import BenchmarkSpec

__all__ = ["Contents", "digest_context", "perturbation_name", "policy_identity"]


def policy_identity(adapter: VLAAdapter) -> PolicyIdentity:
    """Which weights act."""
    info = adapter.info
    return PolicyIdentity(
        adapter=info.name, checkpoint=info.checkpoint, checkpoint_hash=info.checkpoint_hash
    )


def digest_context(
    adapter: VLAAdapter,
    benchmark: BenchmarkSpec,
    run_dir: Path,
    *,
    interventions: Sequence[Intervention],
    record: RecordSpec | None,
    perturb: Perturb | None,
    batch_mode: str,
) -> dict[str, str]:
    """Everything beside the plan that decides what an episode is.

    Stores that interventions read are named relative to the run directory, so that a study's
    folder may be moved; what a store holds is not hashed. Of a direction in a file, its content
    counts and not where the file lies.
    """
    edits = [_relative(i.model_dump(mode="json"), run_dir) for i in interventions]
    return {
        "policy": adapter.info.checkpoint_hash,
        "benchmark": str(benchmark),
        "interventions": _sha256(edits),
        "record": "" if record is None else record.model_dump_json(),
        "perturb": perturbation_name(perturb),
        "batch_mode": batch_mode,
        "code": __version__,
    }


@dataclass(frozen=True)
class Contents:
    """What episodes consist of, whatever their arms are called and whether they are recorded.

    Attributes:
        context: as `digest_context` gives it.
        edits: the interventions as plain data.
    """

    context: Mapping[str, str]
    edits: Sequence[Any]

    @classmethod
    def of(
        cls, context: Mapping[str, str], interventions: Sequence[Intervention], run_dir: Path
    ) -> Contents:
        """Of the episodes of one call of `run_episodes`."""
        edits = [_relative(i.model_dump(mode="json"), run_dir) for i in interventions]
        return cls(
            {k: v for k, v in context.items() if k not in ("record", "interventions")}, edits
        )

    def digest(self, plan: EpisodePlan, instruction: str) -> str:
        """Equal for two plans exactly if their episodes are the same episode."""
        nameless = plan.model_copy(update={"arm": "", "instruction": instruction})
        edits = [_own_share(edit, plan.episode) for edit in self.edits]
        return nameless.digest(**self.context, edits=_sha256(edits))


def _own_share(value: Any, episode: str) -> Any:
    """An edit without what it does to other episodes."""
    if not isinstance(value, dict):
        return value
    own = {key: _own_share(entry, episode) for key, entry in value.items()}
    if isinstance(value.get("pairs"), dict):
        own["pairs"] = value["pairs"].get(episode, episode)
    if isinstance(value.get("episodes"), list):
        own["episodes"] = episode in value["episodes"]
    return own


def perturbation_name(perturb: Perturb | None) -> str:
    """A function's import path, or its `repr` where it is an instance (a frozen dataclass).

    Empty for perturbations that are data, which are written into the plan.
    """
    if perturb is None or isinstance(perturb, str):
        return perturb or ""
    if is_data(perturb):
        return ""
    if own_name := getattr(perturb, "__qualname__", ""):
        return f"{perturb.__module__}:{own_name}"
    return f"{type(perturb).__module__}:{perturb!r}"


def _relative(value: Any, run_dir: Path) -> Any:
    if isinstance(value, dict):
        if set(value) == {"store"}:
            return {"store": os.path.relpath(value["store"], run_dir)}
        if {"file", "sha256"} <= set(value):
            return {key: entry for key, entry in value.items() if key not in ("file", "name")}
        return {key: _relative(entry, run_dir) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_relative(entry, run_dir) for entry in value]
    return value


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
