"""Running a study's analyses, once for what they read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from vlascope import __version__
from vlascope.errors import CorruptFile, VlascopeError
from vlascope.records import EpisodeRecord
from vlascope.rollout.ledger import EPISODES, read_episodes
from vlascope.store.durable import write_atomically
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope.study.expansion import analysis_of
from vlascope.study.run_directory import ArmOutcome

if TYPE_CHECKING:
    from vlascope.adapter import VLAAdapter
    from vlascope.study.schema import Study

__all__ = ["Analysing", "read_results"]

FOLDER = "analyses"
_RESULT, _INPUTS = "result.json", "inputs.sha256"


@dataclass
class Analysing:
    """The analyses of one policy's run.

    Attributes:
        results: of those that ran, or had run before on the same episodes.
        outcomes: how each ended, by name.
    """

    study: Study
    policy: str
    adapter: VLAAdapter
    run_dir: Path
    say: Callable[[str], None]
    results: dict[str, AnalysisResult] = field(default_factory=dict)
    outcomes: dict[str, ArmOutcome] = field(default_factory=dict)

    def ensure(self, name: str) -> ArmOutcome:
        """Run an analysis, unless it has been; its failure is an outcome, not an exception."""
        if name not in self.outcomes:
            try:
                self.results[name] = self._result(name)
                self.outcomes[name] = ArmOutcome(status="ok")
            except (VlascopeError, ValidationError) as error:
                reason = f"{type(error).__name__}: {error}"
                self.outcomes[name] = ArmOutcome(status="failed", error=reason)
                self.say(f"{self.policy}, analysis {name}: failed: {reason}")
        return self.outcomes[name]

    def _result(self, name: str) -> AnalysisResult:
        analysis = analysis_of(self.study, name)
        records = _records(self.run_dir, analysis.arms)
        folder = self.run_dir / FOLDER / name
        inputs = _inputs(analysis, self.adapter.info.checkpoint_hash, records)
        if (folder / _INPUTS).exists() and (folder / _INPUTS).read_text() == inputs:
            return _read(folder / _RESULT)
        folder.mkdir(parents=True, exist_ok=True)
        context = AnalysisContext(
            self.study, self.policy, self.adapter, self.run_dir, folder, records, self.say
        )
        result = analysis.run(context)
        write_atomically(folder / _RESULT, result.model_dump_json(indent=1).encode())
        write_atomically(folder / _INPUTS, inputs.encode())
        return result


def read_results(run_dir: Path, study: Study) -> dict[str, AnalysisResult]:
    """The results kept in a policy's run, by name; those that never came about are left out."""
    paths = {name: run_dir / FOLDER / name / _RESULT for name in study.analyses}
    return {name: _read(path) for name, path in paths.items() if path.exists()}


def _read(path: Path) -> AnalysisResult:
    try:
        return AnalysisResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(
            f"{path} is no vlascope.analysis/1 result: {error}; delete its folder and run again"
        ) from error


def _records(run_dir: Path, arms: tuple[str, ...]) -> dict[str, list[EpisodeRecord]]:
    found: dict[str, list[EpisodeRecord]] = {arm: [] for arm in arms}
    for record in read_episodes(run_dir) if (run_dir / EPISODES).exists() else ():
        if record.plan.arm in found and record.status == "ok":
            found[record.plan.arm].append(record)
    return found


def _inputs(analysis: Analysis, policy: str, records: dict[str, list[EpisodeRecord]]) -> str:
    """A hash of everything the result depends on."""
    digests = {arm: sorted(r.digest for r in found) for arm, found in records.items()}
    options = analysis.model_dump(mode="json")
    whole = [analysis.kind, options, policy, digests, __version__]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
