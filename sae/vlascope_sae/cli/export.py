"""`vlascope sae show`, `export` and `import`: what an autoencoder is, here and for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vlascope_sae.files import Manifest

__all__ = ["app", "described"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Look at autoencoders, export, import them."
)

_Folder = Annotated[Path, typer.Argument(metavar="SAE", help="Its folder, with sae.safetensors.")]
_Out = Annotated[Path, typer.Option("--out", help="The folder to write, which must hold no SAE.")]


def described(manifest: Manifest) -> list[str]:
    """What an autoencoder is and where it comes from, a line each; what is unknown is left out."""
    config, origin = manifest.config, manifest.provenance
    out = config.get("d_out")
    shared = {"architecture", "d_in", "d_sae", "d_out", "normalise"}
    lines = {
        "architecture": f"{config['architecture']}, {config['d_in']} -> {config['d_sae']} latents"
        + (f" -> {out} (transcoder)" if out else ""),
        "normalisation": config.get("normalise"),
        "settings": ", ".join(f"{k}={v}" for k, v in config.items() if k not in shared),
        "policy": f"{origin.adapter} {origin.checkpoint}".strip(),
        "checkpoint": origin.checkpoint_hash[:12],
        "hook point": origin.hook_point,
        "predicts": origin.output_point,
        "tokens": f"{', '.join(origin.spans) if origin.spans else 'all'}; pool {origin.pool}",
        "calls": None if origin.calls is None else ", ".join(map(str, origin.calls)),
        "benchmark": origin.benchmark,
        "trained on": f"{origin.samples} samples" if origin.samples else None,
        "read from": origin.source,
        "weights": f"sha256 {manifest.weights_sha256[:12]}, by vlascope {origin.code_version}",
    }
    return [f"{name:14} {value}" for name, value in lines.items() if value]


@app.command()
def show(
    folder: _Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What an SAE is, and what it was trained on.

    Example:

        vlascope sae show runs/saes/vlm.1
    """
    from vlascope_sae.files import read_manifest

    manifest = read_manifest(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    for line in described(manifest):
        typer.echo(line)


@app.command()
def export(
    folder: _Folder,
    out: _Out,
    to: Annotated[
        str, typer.Option("--to", help="saelens, or vlascope for our own, folded for inference.")
    ] = "saelens",
) -> None:
    """Write an SAE for another library; latents and outputs are the same there.

    Example:

        vlascope sae export runs/saes/vlm.1 --to saelens --out exported/vlm.1
    """
    from vlascope_sae.files import load_sae
    from vlascope_sae.interchange import write_foreign

    for note in write_foreign(load_sae(folder), out, to):
        typer.echo(f"note: {note}")
    typer.echo(f"{out}: in {to}'s layout")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="An SAE that another library wrote.")],
    out: _Out,
    layout: Annotated[
        str | None, typer.Option("--from", help="Whose layout; recognised where left out.")
    ] = None,
) -> None:
    """Read an SAE of SAELens, sparsify or dictionary_learning, and write it in our own format.

    Example:

        vlascope sae import downloads/their_sae --out saes/theirs
    """
    from vlascope_sae.files import save_sae
    from vlascope_sae.interchange import read_foreign

    sae, provenance = read_foreign(folder, layout)
    save_sae(out, sae, provenance)
    typer.echo(f"{out}: {sae.config.architecture}, {sae.config.d_in} -> {sae.config.d_sae} latents")
