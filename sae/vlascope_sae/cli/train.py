"""`vlascope sae train` and `eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vlascope_sae.training.spec import TrainingSpec
    from vlascope_sae.training.validating import Fit

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train sparse autoencoders on a store, judge them, look at them, carry them elsewhere.",
)


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="A training file: store, points, saes, training.")],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH=VALUE]...", help="Values to set: training.lr=1e-4."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="The same, as in `vlascope study`."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and the store, and show the plan.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train every SAE of a file at every hook point; run again to resume.

    Examples:

        vlascope sae train sae.yaml

        vlascope sae train sae.yaml training.samples=2000000 saes.topk.k=64

        torchrun --nproc-per-node 2 --no-python vlascope sae train sae.yaml
    """
    from vlascope_sae.training.file import load_training

    plan = load_training(file, [*(assignments or ()), *(overrides or ())])
    if dry_run:
        for source, saes in plan.sites():
            typer.echo(
                f"{source.name}: {source.training_rows} rows to train on, {source.held_out_rows} "
                f"held out ({len(source.validation_episodes)} episodes)"
            )
            for name, config in saes.items():
                typer.echo(
                    f"  {name}: {config.architecture}, {config.d_in} -> {config.d_sae} latents; "
                    f"{_how(plan.training_of(name).settled(config.d_sae))}"
                )
        return
    trainer = plan.trainer(show=not quiet)
    results = trainer.run()
    if trainer.group.leads:
        for name, result in results.items():
            typer.echo(
                f"{result.folder or name}: {_fit(result.fit)}; {result.dropped} rows dropped"
            )


@app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="SAE...", help="Folders of SAEs.")],
    store: Annotated[
        Path | None, typer.Option("--store", help="Another store than the one trained on.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="Look at so many rows only.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where to compute.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per SAE.")] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Write SAE/reconstruction.json as well.")
    ] = False,
) -> None:
    """FVU, L0, dead features and firing density on the episodes that training held out.

    Examples:

        vlascope sae eval runs/saes/vlm.1.resid_post/topk

        vlascope sae eval runs/saes/*/* --json
    """
    from vlascope_sae.evaluation.schema import write_evaluation
    from vlascope_sae.training.judging import held_out_quality

    for folder in folders:
        found = held_out_quality(folder, store=store, limit=rows, device=device)
        if save:
            write_evaluation(folder / "reconstruction.json", found)
        if as_json:
            typer.echo(found.model_dump_json())
        else:
            typer.echo(
                f"{folder}: FVU {found.fvu:.4f}, L0 {found.l0:.1f}, {100 * found.dead:.1f}% dead, "
                f"{found.rows} held-out rows"
            )


def _how(spec: TrainingSpec) -> str:
    return (
        f"lr {spec.lr:.2g} ({spec.schedule}, {100 * spec.warmup:g}% warm-up), "
        f"batches of {spec.batch_size}, "
        + ("no clipping" if spec.clip is None else f"clipped at {spec.clip:g}")
    )


def _fit(fit: Fit | None) -> str:
    if fit is None:
        return "nothing was held out to judge it on"
    return (
        f"FVU {fit.fvu:.4f}, L0 {fit.l0:.1f}, {100 * fit.dead:.1f}% dead ({fit.rows} held-out rows)"
    )
