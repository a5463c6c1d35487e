"""The bookkeeping of a study: receipts, failures, what each arm is, where it all came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from vlascope.intervening import Receipt
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.measuring import Measuring
from vlascope.study.run_directory import ArmOutcome, RunManifest
from vlascope.study.seeds import compact

__all__ = [
    "ArmLine",
    "Failure",
    "ReceiptLine",
    "arm_lines",
    "failures",
    "provenance",
    "receipt_lines",
]

Outcomes = Mapping[str, Mapping[str, ArmOutcome]]


class ReceiptLine(BaseModel):
    """What one edit of an arm did, over all its episodes.

    Attributes:
        fired: row edits by call of a chunk.
        expected: row edits declared; `mismatches`: those that could not be made.
        dx_ratio_mean: mean ||dx|| / ||x|| over row edits; `dx_ratio_max`: the largest.
    """

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    kind: str
    at: tuple[str, ...]
    points: tuple[str, ...]
    episodes: int
    fired: dict[int, int]
    expected: int
    mismatches: int
    dx_ratio_mean: float | None
    dx_ratio_max: float | None


class Failure(BaseModel):
    """An episode or a whole arm without a result; never counted as the policy's failure."""

    model_config = ConfigDict(frozen=True)

    policy: str
    arm: str
    task: str | None
    seed: int | None
    reason: str


class ArmLine(BaseModel):
    """What an arm is."""

    model_config = ConfigDict(frozen=True)

    arm: str
    role: str
    about: str
    prompt: str
    edits: tuple[str, ...]
    controls: dict[str, str]
    waived: str | None
    episodes: int


def receipt_lines(measuring: Measuring, outcomes: Outcomes) -> tuple[ReceiptLine, ...]:
    """One line per edit of every arm that was played."""
    lines = []
    for policy in measuring.design.study.policies:
        for group in measuring.design.groups:
            played = [e for e in measuring.episodes.of(policy, group.arm) if e.ok]
            ended = outcomes.get(policy, {}).get(group.arm)
            for i in range(max((len(e.record.receipts) for e in played), default=0)):
                receipts = [e.record.receipts[i] for e in played if i < len(e.record.receipts)]
                points = ended.hook_points[i] if ended and i < len(ended.hook_points) else []
                if receipts:
                    lines.append(_line(policy, group.arm, receipts, points))
    return tuple(lines)


def _line(policy: str, arm: str, receipts: list[Receipt], points: list[str]) -> ReceiptLine:
    fired: Counter[int] = Counter()
    for receipt in receipts:
        fired.update(receipt.fired)
    weighed = [(r.edits, r.dx_ratio_mean) for r in receipts if r.dx_ratio_mean is not None]
    largest = [r.dx_ratio_max for r in receipts if r.dx_ratio_max is not None]
    total = sum(n for n, _ in weighed)
    return ReceiptLine(
        policy=policy,
        arm=arm,
        kind=receipts[0].kind,
        at=receipts[0].at,
        points=tuple(points),
        episodes=len(receipts),
        fired=dict(sorted(fired.items())),
        expected=sum(r.expected for r in receipts),
        mismatches=sum(r.mismatches for r in receipts),
        dx_ratio_mean=sum(n * mean for n, mean in weighed) / total if total else None,
        dx_ratio_max=max(largest, default=None),
    )


def failures(measuring: Measuring, outcomes: Outcomes) -> tuple[Failure, ...]:
    """Arms that did not finish, places that controls do without, and environments that failed."""
    arms = [
        Failure(policy=policy, arm=arm, task=None, seed=None, reason=f"{o.status}: {o.error}")
        for policy, by_arm in outcomes.items()
        for arm, o in by_arm.items()
        if o.status != "ok"
    ]
    arms += [
        Failure(policy=policy, arm=arm, task=None, seed=None, reason=f"not hooked: {why}")
        for policy, by_arm in outcomes.items()
        for arm, o in by_arm.items()
        for why in o.left_out.values()
    ]
    never = [
        Failure(policy=policy, arm=g.arm, task=None, seed=None, reason="not run yet")
        for policy in measuring.design.study.policies
        for g in measuring.design.groups
        if g.arm not in outcomes.get(policy, {})
    ]
    episodes = [
        Failure(
            policy=policy,
            arm=group.arm,
            task=e.record.plan.task,
            seed=e.record.plan.seed,
            reason=e.record.error or "the environment failed",
        )
        for policy in measuring.design.study.policies
        for group in measuring.design.groups
        for e in measuring.episodes.of(policy, group.arm)
        if not e.ok
    ]
    return (*arms, *never, *episodes)


def arm_lines(measuring: Measuring) -> tuple[ArmLine, ...]:
    """Every arm in the order it runs."""
    lines = []
    for group in measuring.design.groups:
        definition = group.definition
        waived = definition.controls.waived if definition.controls else None
        lines.append(
            ArmLine(
                arm=group.arm,
                role=group.role,
                about=definition.about,
                prompt=_prompt(definition.prompt),
                edits=tuple(_edit(dict(e)) for e in definition.interventions),
                controls=measuring.design.controls(group.arm),
                waived=waived,
                episodes=len(group.plans),
            )
        )
    return tuple(lines)


def provenance(manifest: RunManifest, measuring: Measuring) -> dict[str, Any]:
    """Policy hashes, versions, batch mode, and the study as it was resolved."""
    records = [e.record for e in measuring.episodes if e.ok]
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.versions.items():
            versions.setdefault(package, set()).add(version)
    study = manifest.study
    plain = study.model_dump(mode="json", exclude_defaults=True)
    plain["seeds"] = compact(study.seeds)
    return {
        "policies": {
            f"{r.policy.adapter} {r.policy.checkpoint}": r.policy.checkpoint_hash for r in records
        },
        "benchmark": sorted({r.benchmark for r in records}),
        "versions": {p: ", ".join(sorted(v)) for p, v in sorted(versions.items())},
        "batch": {
            "mode": sorted({r.batch_mode for r in records}),
            "largest": max((r.largest_batch for r in records), default=0),
        },
        "seconds of play": round(sum(r.seconds for r in records), 1),
        "study": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100),
    }


def _prompt(prompt: object) -> str:
    if prompt is None:
        return "the task's own"
    if isinstance(prompt, str):
        return f"\u201c{prompt}\u201d" if prompt else "none"
    task, paraphrase = getattr(prompt, "task", None), getattr(prompt, "paraphrase", None)
    return f"that of another task ({task})" if task else f"paraphrase {paraphrase}"


def _edit(edit: dict[str, Any]) -> str:
    """An edit in one line: `inject at expert.*.resid_post from baseline (task: next_goal)`."""
    if edit["kind"] == FROM_ANALYSIS:
        role = f", as its {edit['role']} control" if "role" in edit else ""
        return f"what {edit['analysis']} found as {edit['key']}{role}"
    at = edit.get("at", ())
    where = at if isinstance(at, str) else ", ".join(at)
    text = f"{edit['kind']} at {where}"
    source = edit.get("source")
    if isinstance(source, Mapping) and "arm" in source:
        text += f" from {source['arm']} (task: {source.get('task', 'same')}"
        text += f", seed: {source.get('seed', 'same')})"
    if isinstance(edit.get("like"), Mapping):
        text += f", as far as {edit['like']['kind']}"
    limits = {k: edit[k] for k in ("tokens", "calls", "steps") if edit.get(k) is not None}
    return text + "".join(f", {k}: {v}" for k, v in limits.items())
