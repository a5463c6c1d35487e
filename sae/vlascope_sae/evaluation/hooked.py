"""Hooked success: does the robot still succeed with the reconstruction in place all along?

The arms are those of an ordinary study (unhooked, hooked with nothing changed, and each splice
beside a random change of equal norm), run, resumed and paired by the study engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vlascope.errors import StudyFileError
from vlascope.study.checking import problems_of
from vlascope.study.design import design
from vlascope.study.findings import ArmAnswer, answer
from vlascope.study.measuring import Measuring
from vlascope.study.run_directory import ArmOutcome, read_run
from vlascope.study.schema import Arm, BenchmarkChoice, Controls, Finding, PolicyChoice, Study
from vlascope_sae.evaluation.schema import HookedArm, HookedComparison, HookedSuccess
from vlascope_sae.splicing import Reconstruct, SAESplice

__all__ = ["UNHOOKED", "hooked_arms", "hooked_study", "hooked_success"]

UNHOOKED: Final = "unhooked"
_METRIC: Final = "success"
_KIND: Final = Reconstruct.kind
_ROLES: Final = ("unhooked", "identity", "random_direction")
_QUESTION: Final = "Does the robot still succeed with the reconstruction in place?"


def hooked_study(
    name: str,
    policy: PolicyChoice,
    benchmark: BenchmarkChoice | str,
    splices: Mapping[str, SAESplice],
    *,
    tasks: Sequence[str],
    seeds: Sequence[int] | str,
    random_direction: bool = True,
    **options: Any,
) -> Study:
    """The study that measures hooked success; run it with `vlascope.study.execution.run_study`.

    Args:
        name: of the study.
        policy: who acts, as in a study file.
        benchmark: what is played; a name, or a name with options.
        splices: by arm name; usually `Reconstruct` of one autoencoder each.
        tasks: patterns of task names.
        seeds: a list, or text such as `0-19`.
        random_direction: also play, for each splice, a random change of equal norm.
        options: further fields of `Study` (`max_steps`, `workers`, `batch`, ...).

    Raises:
        StudyFileError: the parts do not fit together; lists every problem.
    """
    chosen = BenchmarkChoice(name=benchmark) if isinstance(benchmark, str) else benchmark
    study = Study.model_validate(
        {
            "name": name,
            "policies": {"policy": policy.model_dump()},
            "benchmark": chosen.model_dump(),
            "tasks": tuple(tasks),
            "seeds": seeds if isinstance(seeds, str) else tuple(seeds),
            "arms": hooked_arms(splices, random_direction=random_direction),
            "findings": {
                "hooked_success": Finding(
                    question=_QUESTION, metric=_METRIC, arms=tuple(splices), against=(UNHOOKED,)
                )
            },
            **options,
        }
    )
    problems = problems_of(study)
    if problems:
        raise StudyFileError(
            "\n".join(f"{'.'.join(map(str, p.at))}: {p.message}" for p in problems)
        )
    return study


def hooked_arms(
    splices: Mapping[str, SAESplice], *, random_direction: bool = True
) -> dict[str, Arm]:
    """The arms: `unhooked` first, then each splice, whose controls are made automatically.

    Each splice is pinned to the weights that lie in its folder now.
    """
    controls = (
        Controls(identity="auto", random_direction="auto")
        if random_direction
        else Controls(identity="auto", waived="judged beside the unhooked policy alone")
    )
    arms = {UNHOOKED: Arm(about="the policy as it is")}
    for name, splice in splices.items():
        written = splice.pinned().model_dump(mode="json", exclude_none=True)
        about = f"{splice.sae} spliced in at {', '.join(splice.at)}"
        arms[name] = Arm(about=about, interventions=(written,), controls=controls)
    return arms


def hooked_success(run_dir: str | Path) -> list[HookedSuccess]:
    """What a finished run of `hooked_study` says: one evaluation per policy and autoencoder.

    Pairs, intervals and tests are the study engine's: exact McNemar test and paired intervals over
    (task, seed), and missing episodes stay missing.

    Raises:
        FileMissing: no study was run there.
        StudyFileError: the study has no arm with a reconstruction.
    """
    manifest, episodes, outcomes = read_run(Path(run_dir))
    measuring = Measuring(design(manifest.study), episodes)
    spliced = _spliced(manifest.study)
    if not spliced:
        raise StudyFileError(
            f"the study in {run_dir} has no arm with `kind: {_KIND}`; make one with hooked_study"
        )
    return [
        _evaluation(measuring, policy, sae, arms, outcomes[policy])
        for policy in manifest.study.policies
        for sae, arms in spliced.items()
    ]


def _spliced(study: Study) -> dict[str, list[str]]:
    """Arms by the autoencoder that they splice in."""
    found: dict[str, list[str]] = {}
    for name, arm in study.arms.items():
        for edit in arm.interventions:
            if edit.get("kind") == _KIND:
                found.setdefault(str(edit["sae"]), []).append(name)
    return found


def _evaluation(
    measuring: Measuring,
    policy: str,
    sae: str,
    arms: Sequence[str],
    ended: Mapping[str, ArmOutcome],
) -> HookedSuccess:
    study = measuring.design.study
    return HookedSuccess(
        sae=sae,
        policy=policy,
        benchmark=study.benchmark.name,
        tasks=len(measuring.design.tasks),
        seeds=len(study.seeds),
        arms=tuple(_arm(measuring, policy, sae, arm) for arm in arms),
        failures=tuple(f"{a}: {o.status}: {o.error}" for a, o in ended.items() if o.status != "ok"),
    )


def _arm(measuring: Measuring, policy: str, sae: str, arm: str) -> HookedArm:
    controls = measuring.design.controls(arm)
    against = (measuring.design.study.baseline_arm, *(controls[r] for r in _ROLES if r in controls))
    finding = Finding(question=_QUESTION, metric=_METRIC, arms=(arm,), against=against)
    found: ArmAnswer = answer(measuring, arm, finding, policy).arms[0]
    edits = measuring.design.group(arm).definition.interventions
    return HookedArm(
        arm=arm,
        sae=sae,
        at=tuple(point for edit in edits for point in _globs(edit["at"])),
        success=found.value,
        against=tuple(
            HookedComparison(role=c.role, arm=c.arm, success=c.value, comparison=c.comparison)
            for c in found.controls
        ),
        dx_ratio=_dx_ratio(measuring, policy, arm),
    )


def _dx_ratio(measuring: Measuring, policy: str, arm: str) -> float | None:
    """Mean of the edits' mean ||dx|| / ||x||, weighted by how often each acted."""
    total, count = 0.0, 0
    for episode in measuring.episodes.of(policy, arm):
        for receipt in episode.record.receipts:
            if receipt.dx_ratio_mean is not None:
                total += receipt.dx_ratio_mean * receipt.edits
                count += receipt.edits
    return total / count if count else None


def _globs(at: str | Sequence[str]) -> tuple[str, ...]:
    return (at,) if isinstance(at, str) else tuple(at)
