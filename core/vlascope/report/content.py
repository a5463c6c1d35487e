"""Everything a report says, as data; the HTML page and the Markdown only lay it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from vlascope.report.behaviour import BehaviourMatrix, Verdicts, matrices, verdicts
from vlascope.report.chapters import chapters
from vlascope.report.ledgers import (
    ArmLine,
    Failure,
    ReceiptLine,
    arm_lines,
    failures,
    provenance,
    receipt_lines,
)
from vlascope.report.paths import PathPanel, path_panels
from vlascope.report.stops import early_stops
from vlascope.report.strips import StripPanel, strip_panels
from vlascope.report.tables import EffectLine, MotionLine, SuccessLine, effects, motion, successes
from vlascope.report.wording import headline, unresolved
from vlascope.sections import Section
from vlascope.study.design import design
from vlascope.study.findings import Answer, answer
from vlascope.study.measuring import Measuring
from vlascope.study.metrics import METRICS
from vlascope.study.run_directory import RunManifest, read_run

__all__ = ["ReportContent", "collect"]

SCHEMA = "vlascope.report/1"


class AnsweredQuestion(BaseModel):
    """A finding in numbers and in words."""

    model_config = ConfigDict(frozen=True)

    answer: Answer
    words: tuple[str, ...]


class ReportContent(BaseModel):
    """The report as data; `report.json` is exactly this.

    Attributes:
        findings: the study's questions, answered.
        sections: the chapters of its recipes and analyses.
        successes: success per arm and task, with Wilson intervals.
        effects: every arm against each of its controls, on success.
        motion: continuous metrics per arm.
        behaviour: prompt x behaviour matrices.
        verdicts: source / destination / ambiguous per arm that has a source.
        paths: end-effector paths of the chosen episodes, metres.
        strips: film strips as data URIs.
        receipts: what each edit did.
        unresolved: what this study cannot tell.
        failures: episodes whose environment failed, and arms that did not finish.
        arms: what each arm is.
        provenance: what produced all this.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: str = SCHEMA
    title: str
    about: str
    facts: dict[str, str]
    findings: tuple[AnsweredQuestion, ...]
    sections: tuple[Section, ...]
    successes: tuple[SuccessLine, ...]
    effects: tuple[EffectLine, ...]
    motion: tuple[MotionLine, ...]
    behaviour: tuple[BehaviourMatrix, ...]
    verdicts: tuple[Verdicts, ...]
    paths: tuple[PathPanel, ...]
    strips: tuple[StripPanel, ...]
    receipts: tuple[ReceiptLine, ...]
    unresolved: tuple[str, ...]
    failures: tuple[Failure, ...]
    arms: tuple[ArmLine, ...]
    metrics: dict[str, str]
    provenance: dict[str, Any]


def collect(run_dir: str | Path) -> ReportContent:
    """Read a run directory and work everything out.

    Raises:
        FileMissing: no study was run there.
        CorruptFile: a file in it is truncated or foreign.
    """
    manifest, episodes, outcomes = read_run(Path(run_dir))
    study = manifest.study
    stopped = {
        (policy, arm): frozenset(o.stopped.seeds)
        for policy, arms in outcomes.items()
        for arm, o in arms.items()
        if o.stopped is not None
    }
    measuring = Measuring(design(study), episodes, stopped)
    policies = tuple(study.policies)
    answers = [
        answer(measuring, name, finding, policy)
        for name, finding in study.findings.items()
        for policy in policies
    ]
    return ReportContent(
        title=study.title or study.name,
        about=study.about,
        facts=_facts(manifest, measuring),
        findings=tuple(AnsweredQuestion(answer=a, words=headline(a, policies)) for a in answers),
        sections=(*chapters(Path(run_dir), measuring), *early_stops(study, outcomes)),
        successes=successes(measuring),
        effects=effects(measuring),
        motion=motion(measuring),
        behaviour=matrices(measuring),
        verdicts=verdicts(measuring),
        paths=path_panels(measuring),
        strips=strip_panels(measuring),
        receipts=receipt_lines(measuring, outcomes),
        unresolved=unresolved(answers),
        failures=failures(measuring, outcomes),
        arms=arm_lines(measuring),
        metrics={m.label: m.meaning for m in METRICS.values()},
        provenance=provenance(manifest, measuring),
    )


def _facts(manifest: RunManifest, measuring: Measuring) -> dict[str, str]:
    study = manifest.study
    finished = [e for e in measuring.episodes if e.ok]
    planned = sum(len(g.plans) for g in measuring.design.groups) * len(study.policies)
    modes = sorted({e.record.batch_mode for e in finished})
    return {
        "policy": ", ".join(f"{p.adapter} ({p.checkpoint})" for p in study.policies.values()),
        "benchmark": study.benchmark.name,
        "tasks": str(len(measuring.design.tasks)),
        "seeds": str(len(study.seeds)),
        "arms": str(len(measuring.design.groups)),
        "episodes": f"{len(finished)} of {planned}",
        "batch mode": " and ".join(modes) or "none",
    }
