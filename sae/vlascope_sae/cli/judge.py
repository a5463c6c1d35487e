"""`vlascope sae fidelity` and `success`: what a policy does with reconstructions in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vlascope.statistics import Estimate
    from vlascope_sae.files import Provenance
    from vlascope_sae.splicing import Reconstruct

__all__ = ["app", "arm_names"]

app = typer.Typer(no_args_is_help=True, add_completion=False)

_Folders = Annotated[list[Path], typer.Argument(metavar="SAE...", help="Folders of SAEs.")]
_Benchmark = Annotated[str, typer.Option("--benchmark", help="What is played.")]
_Tasks = Annotated[
    list[str], typer.Option("--task", metavar="PATTERN", help="Name, glob or suite:NAME.")
]
_Steps = Annotated[int | None, typer.Option("--max-steps", min=1, help="End episodes early.")]
_Device = Annotated[str, typer.Option("--device", help="Where to compute.")]


@app.command()
def fidelity(
    folders: _Folders,
    benchmark: _Benchmark,
    tasks: _Tasks,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Episodes per task.")] = 5,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep every N-th chunk.")] = 2,
    max_steps: _Steps = None,
    device: _Device = "cpu",
) -> None:
    """Action fidelity: 1 for the same actions, 0 for those under mean ablation.

    Each SAE is spliced in at the hook point, tokens and calls it was trained on, and
    SAE/action_fidelity.json is written.

    Example:

        vlascope sae fidelity runs/saes/*/* --benchmark metaworld --task "multi/*"
    """
    from vlascope.loading import load
    from vlascope.plugins import benchmark_class
    from vlascope.study.tasks import matching
    from vlascope_sae.evaluation.actions import action_fidelity
    from vlascope_sae.evaluation.schema import write_evaluation
    from vlascope_sae.evaluation.situations import played_situations

    origin = _one_policy(folders)
    policy = load(origin.adapter, origin.checkpoint, device=device)
    env = benchmark_class(benchmark)()
    try:
        seen = played_situations(
            policy, env, matching(benchmark, tasks), range(seeds), every=every, max_steps=max_steps
        )
    finally:
        env.close()
    for folder, splice in _splices(folders).items():
        found = action_fidelity(policy, seen, splice)
        write_evaluation(Path(folder) / "action_fidelity.json", found)
        typer.echo(f"{folder}: action fidelity {_shown(found.fidelity)}")


@app.command()
def success(
    folders: _Folders,
    benchmark: _Benchmark,
    tasks: _Tasks,
    out: Annotated[Path, typer.Option("--out", help="The run directory; run again to resume.")],
    seeds: Annotated[str, typer.Option("--seeds", help="Such as 0-19.")] = "0-9",
    max_steps: _Steps = None,
    workers: Annotated[int, typer.Option("--workers", min=1)] = 2,
    random_direction: Annotated[
        bool,
        typer.Option("--random-direction/--no-random-direction", help="Play that control too."),
    ] = True,
    device: _Device = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Hooked success: episodes with the reconstruction in place, paired with the policy alone.

    The run directory is that of an ordinary study: `vlascope report` reads it as well.
    SAE/hooked_success.json is written.

    Example:

        vlascope sae success runs/saes/*/* --benchmark metaworld --task "multi/*" --out runs/hooked
    """
    from vlascope.study.execution import run_study
    from vlascope.study.schema import PolicyChoice
    from vlascope_sae.evaluation.hooked import hooked_study, hooked_success
    from vlascope_sae.evaluation.schema import write_evaluation

    origin = _one_policy(folders)
    distinct = list(dict.fromkeys(folders))
    study = hooked_study(
        "hooked-success",
        PolicyChoice(adapter=origin.adapter, checkpoint=origin.checkpoint, device=device),
        benchmark,
        dict(zip(arm_names(distinct), _splices(distinct).values(), strict=True)),
        tasks=tasks,
        seeds=seeds,
        random_direction=random_direction,
        max_steps=max_steps,
        workers=workers,
    )
    outcome = run_study(study, out, progress=not quiet, say=lambda line: typer.echo(line, err=True))
    for found in hooked_success(out):
        write_evaluation(Path(found.sae) / "hooked_success.json", found)
        for arm in found.arms:
            typer.echo(f"{found.sae}: success {_shown(arm.success)}")
            for other in arm.against:
                difference = _shown(other.comparison.difference)
                typer.echo(f"  against {other.role}: {_shown(other.success)}, change {difference}")
    if not outcome.ok:
        raise typer.Exit(1)


def _splices(folders: Sequence[Path]) -> dict[str, Reconstruct]:
    from vlascope_sae.splicing import Reconstruct

    return {str(folder): Reconstruct.where_trained(folder) for folder in folders}


def _one_policy(folders: Sequence[Path]) -> Provenance:
    """The policy that all of them were trained on."""
    from vlascope.errors import IncompatibleError
    from vlascope_sae.files import read_manifest

    origins = [read_manifest(folder).provenance for folder in folders]
    names = {(o.adapter, o.checkpoint) for o in origins}
    if len(names) > 1 or not all(map(all, names)):
        listed = ", ".join(f"{adapter or '?'} {checkpoint or '?'}" for adapter, checkpoint in names)
        raise IncompatibleError(
            f"these SAEs were trained on {listed}; give those of one known policy at a time"
        )
    return origins[0]


def arm_names(folders: Sequence[Path]) -> list[str]:
    """The ends of paths as arms are named; those that are alike are numbered."""
    names: list[str] = []
    for folder in folders:
        last = "_".join(folder.parts[-2:]).lower()
        name = "sae_" + re.sub(r"[^a-z0-9_]+", "_", last)
        count = 1 + sum(n == name or re.fullmatch(rf"{name}_\d+", n) is not None for n in names)
        names.append(name if count == 1 else f"{name}_{count}")
    return names


def _shown(found: Estimate) -> str:
    if found.value is None:
        return f"not measured ({found.missing} missing)"
    if found.low is None:
        return f"{found.value:.3f} (n = {found.n})"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] (n = {found.n})"
