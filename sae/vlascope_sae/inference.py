"""An autoencoder reduced to what inference needs."""

from __future__ import annotations

from vlascope_sae.architectures.batch_topk import BatchTopK
from vlascope_sae.autoencoder import SparseAutoencoder

__all__ = ["for_inference"]


def for_inference(sae: SparseAutoencoder) -> SparseAutoencoder:
    """The same latents and outputs in the fewest parts, for those who will not train it on.

    A normalisation with constants is folded into the weights, and the running threshold of a
    BatchTopK (and a Matryoshka) is written out as a JumpReLU's.
    """
    found: SparseAutoencoder = sae.as_jumprelu() if isinstance(sae, BatchTopK) else sae
    foldable = found.normalise_in.foldable and found.normalise_out.foldable
    return found.fold() if foldable and found.config.normalise != "none" else found
