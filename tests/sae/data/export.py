"""Does SAELens load what vlascope exports, and compute the same? Two steps, two environments.

    python tests/sae/data/export.py write /tmp/exported    # where vlascope is installed
    python tests/sae/data/export.py check /tmp/exported    # where sae-lens 6.54.12 is

The second prints the largest difference of latents and outputs, case by case, and ends with
status 1 where one is above 1e-5 of the largest number (at a threshold, one latent may flip).
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

ARCHITECTURES = {
    "standard": {},
    "topk": {"k": 8},
    "temporal": {"k": 8},
    "batch_topk": {"k": 8},
    "matryoshka": {"k": 8},
    "jumprelu": {"threshold": 0.3},
    "gated": {},
}
TRANSCODERS = ("standard", "jumprelu", "batch_topk", "matryoshka")
D_IN, D_OUT, D_SAE, ROWS = 32, 24, 128, 512


def rows(width: int) -> torch.Tensor:
    return torch.randn(ROWS, width) * torch.linspace(0.2, 5, width) + torch.linspace(-3, 3, width)


def write_case(folder: Path, architecture: str, normalise: str, d_out: int | None) -> None:
    from vlascope_sae.architectures import build
    from vlascope_sae.interchange import write_foreign
    from vlascope_sae.provenance import Provenance, Trained

    sizes = {"d_in": D_IN, "d_sae": D_SAE, "d_out": d_out, "normalise": normalise}
    sae = build({"architecture": architecture, **ARCHITECTURES[architecture], **sizes})
    x = rows(D_IN)
    sae.initialise(x, None if d_out is None else rows(d_out))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if architecture in ("batch_topk", "matryoshka"):
            sae.threshold.fill_(0.8)  # type: ignore[operator,union-attr]
        latents, out = sae.eval().encode(x), sae(x)
    write_foreign(Trained(sae, Provenance(hook_point="vlm.1.resid_post")), folder, "saelens")
    save_file({"x": x, "latents": latents, "out": out}, folder / "io.safetensors")


def write(root: Path) -> int:
    torch.manual_seed(0)
    for normalise in ("none", "zscore", "unit_norm"):
        for architecture in ARCHITECTURES:
            write_case(root / f"{architecture}-{normalise}", architecture, normalise, None)
        for architecture in TRANSCODERS:
            name = f"{architecture}-{normalise}-transcoder"
            write_case(root / name, architecture, normalise, D_OUT)
    return 0


def check(root: Path) -> int:
    from sae_lens import SAE, __version__

    print(f"SAELens {__version__}")
    wrong = 0
    for folder in sorted(p.parent for p in root.glob("*/io.safetensors")):
        seen, sae = load_file(folder / "io.safetensors"), SAE.load_from_disk(folder)
        with torch.no_grad():
            found = {"latents": sae.encode(seen["x"]), "out": sae(seen["x"])}
        off = {
            k: ((v - seen[k]).abs().max() / seen[k].abs().max()).item() for k, v in found.items()
        }
        fires = (seen["latents"] != 0).float().sum(-1).mean().item()
        wrong += max(off.values()) > 1e-5
        print(f"{folder.name:32} {type(sae).__name__:20} L0 {fires:5.1f} ", off)
    print(f"{wrong} differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit({"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2])))
