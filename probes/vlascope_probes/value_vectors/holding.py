"""Holding neurons at a value, and as many others as a control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope_probes.value_vectors.clusters import Cluster

__all__ = ["Depth", "Hold", "hold_cluster", "layers_of", "matched_random"]

Depth = Literal["early", "late", "full"]


@dataclass(frozen=True)
class Hold:
    """Neurons and what each layer's are held at, at every token and every call.

    Attributes:
        pathway: whose FFN neurons they are.
        neurons: indices by layer.
        values: by layer.
    """

    pathway: str
    neurons: Mapping[int, tuple[int, ...]]
    values: Mapping[int, float]

    def edits(self) -> tuple[dict[str, Any], ...]:
        """One `clamp` a layer, as a study file would write it."""
        return tuple(
            {
                "kind": "clamp",
                "at": [f"{self.pathway}.{layer}.mlp_act"],
                "neurons": list(self.neurons[layer]),
                "value": self.values[layer],
            }
            for layer in sorted(self.neurons)
        )

    def written(self, vectors: Callable[[int], Tensor]) -> dict[int, float]:
        """Norm of what the held neurons write together, by layer: ||sum_i value w_i||."""
        return {
            layer: abs(self.values[layer])
            * float(vectors(layer)[list(self.neurons[layer])].float().sum(0).norm())
            for layer in self.neurons
        }


def layers_of(depth: Depth, n: int) -> range:
    """The first half of `n` layers, the second, or all of them."""
    half = n // 2
    return {"early": range(half), "late": range(half, n), "full": range(n)}[depth]


def hold_cluster(cluster: Cluster, pathway: str, value: float) -> Hold:
    """Hold a cluster's neurons at one value."""
    neurons = cluster.by_layer
    return Hold(pathway, neurons, dict.fromkeys(neurons, value))


def matched_random(
    hold: Hold,
    vectors: Callable[[int], Tensor],
    *,
    seed: int = 0,
    avoid: Mapping[int, tuple[int, ...]] | None = None,
) -> Hold:
    """As many random neurons in each layer, held so that together they write as much.

    The value is scaled in each layer until ||sum_i value w_i|| is that of `hold`. Only neurons
    that write anything are drawn, and none of `hold`'s or of `avoid`.

    Raises:
        UnusableActivations: a layer has too few other neurons.
    """
    neurons: dict[int, tuple[int, ...]] = {}
    values: dict[int, float] = {}
    norms = hold.written(vectors)
    for layer, held in sorted(hold.neurons.items()):
        rng = np.random.default_rng([seed, layer])
        rows = vectors(layer)
        excluded = {*held, *(avoid or {}).get(layer, ())}
        writing = (rows.float().norm(dim=1) > 0).tolist()
        others = [i for i, writes in enumerate(writing) if writes and i not in excluded]
        if len(others) < len(held):
            raise UnusableActivations(
                f"layer {layer} has {len(others)} other neurons that write anything; a control "
                f"needs {len(held)}"
            )
        drawn = tuple(sorted(int(i) for i in rng.choice(others, len(held), replace=False)))
        own = float(rows[list(drawn)].float().sum(0).norm())
        neurons[layer] = drawn
        values[layer] = float(np.sign(hold.values[layer])) * norms[layer] / max(own, 1e-12)
    return Hold(hold.pathway, neurons, values)
