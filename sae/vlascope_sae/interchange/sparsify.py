"""Reading sparsify's layout: `cfg.json` and `sae.safetensors`, encoder as (d_sae, d_in)."""

from __future__ import annotations

from pathlib import Path

from vlascope.errors import CorruptFile, IncompatibleError
from vlascope_sae.interchange.plain import Plain, to_ours
from vlascope_sae.interchange.raw import check_names, read_json, read_tensors
from vlascope_sae.provenance import Provenance, Trained

__all__ = ["CONFIG", "WEIGHTS", "read"]

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"


def read(folder: str | Path) -> Trained:
    """Read a sparse coder; a transcoder subtracts no bias before it encodes.

    Raises:
        FileMissing: a file is not there.
        CorruptFile: a file is truncated, or its tensors are not those its settings say.
        IncompatibleError: it computes something that no architecture here does.
    """
    folder = Path(folder)
    config, path = read_json(folder / CONFIG), folder / WEIGHTS
    if (activation := config.get("activation", "topk")) != "topk":
        raise IncompatibleError(
            f"{folder} lets the largest of each group fire ({activation!r}), the latents of no "
            "architecture here: only 'topk' is read"
        )
    if config.get("skip_connection"):
        raise IncompatibleError(
            f"{folder} adds a linear function of its input to what it decodes (skip_connection), "
            "which would be lost: train without it"
        )
    tensors = read_tensors(path)
    try:
        d_in, k, is_transcoder = int(config["d_in"]), int(config["k"]), bool(config["transcode"])
        d_sae = int(config.get("num_latents") or d_in * config["expansion_factor"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{folder / CONFIG} does not say {error}: is it sparsify's?") from error
    shapes = {"encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,)}
    check_names(path, tensors, shapes | {"W_dec": (d_sae, d_in), "b_dec": (d_in,)})
    plain = Plain(
        fires="topk",
        W_enc=tensors["encoder.weight"].T,
        b_enc=tensors["encoder.bias"],
        W_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        centred=not is_transcoder,
        is_transcoder=is_transcoder,
        k=k,
    )
    return Trained(to_ours(plain), Provenance(source=f"sparsify: {folder}", training=config))
